"""The door on the message bus: take our name, serve our objects, say when they change.

Owns: the connection and the name. Does not know: what the answers mean.
"""

from __future__ import annotations

import asyncio
import logging
import os

from jepad.bus import address, changes, log_control, manager, resources, schema, standard
from jepad.bus.changes import Changes
from jepad.bus.connection import BUS, Connection, Refused, close_fds
from jepad.bus.dispatch import Dispatcher, Rejection, Tree
from jepad.bus.eyes.objects import Eyes
from jepad.bus.jobs import JobObjects
from jepad.bus.private import PrivateBus, session_bus
from jepad.bus.seam import Message, MessageType, Variant
from jepad.bus.senders import Senders
from jepad.bus.usecases import Service
from jepad.bus.world_model import WorldModel
from jepad.errors import BusError
from jepad.guard.limits import Budget, Limits
from jepad.paths import BUS_NAME, OBJECT_PATH, Places

log = logging.getLogger(__name__)

DO_NOT_QUEUE = 4
PRIMARY_OWNER = 1
ROUND_TRIP_TIMEOUT_S = 5.0
DEFAULT_BUDGET = Budget()


async def serve(
    service: Service, places: Places, *, session: bool, budget: Budget = DEFAULT_BUDGET
) -> Door:
    """Serve on the system bus, or on the session's; if there is none, on one of our own."""
    if not session:
        return await open_door(service, address.system(), budget)
    where, private = await session_bus(places)
    try:
        door = await open_door(service, where, budget)
    except BaseException:
        if private:
            await private.close()
        raise
    door.private = private
    return door


async def open_door(service: Service, where: str, budget: Budget = DEFAULT_BUDGET) -> Door:
    """Serve on the bus at an address; BusError when our name there is taken."""
    connection = await Connection.open(where)
    door = Door(service, connection, budget)
    try:
        await _take_name(connection)
    except BaseException:
        await door.close()
        raise
    return door


class Door:
    """Our objects on one bus. `closed` is done when the bus or our name is gone (a BusError), or
    after `close`. `tick` is to be called when a new forecast is in force."""

    def __init__(self, service: Service, connection: Connection, budget: Budget) -> None:
        self.connection = connection
        self.private: PrivateBus | None = None
        tree = Tree()
        self._jobs = JobObjects(service.jobs, tree, connection)
        self._world_model = WorldModel(service, self._jobs)
        self._manager = manager.Manager(service)
        root, own = self._manager.adapter(), resources.adapter(service)
        tree.add(OBJECT_PATH, root, self._world_model.adapter(), standard.object_manager(tree))
        self._eyes = Eyes(service.sight, tree, connection)
        tree.add(OBJECT_PATH, self._eyes.adapter())
        tree.add(resources.PATH, own)
        tree.add(log_control.PATH, log_control.adapter())
        standard.install(tree)
        self._changes = Changes({OBJECT_PATH: root, resources.PATH: own}, self._changed)
        self._dispatcher = Dispatcher(connection, tree, Limits(budget))
        self._senders = Senders(connection, self._dispatcher.run, self._dispatcher.fail)
        loop = asyncio.get_running_loop()
        self._alerts = resources.AlertSignals(self._signal, loop.call_later)
        service.subscribe(self._alerts.raised, self._alerts.cleared)
        connection.on_message = self._take
        connection.on_oversize = self._oversize
        self.closed: asyncio.Future[None] = loop.create_future()
        self.closed.add_done_callback(lambda future: future.exception())  # seen, for asyncio
        connection.closed.add_done_callback(self._connection_closed)

    def tick(self) -> None:
        """Answers of the last tick are void; tell what changed, at most once a second."""
        self._manager.tick()
        self._world_model.tick()
        if not self.closed.done():
            self._changes.tell()
            self._eyes.tick()

    async def round_trip(self) -> None:
        """A call to our own name and back, through the bus; BusError if it does not come back."""
        message = Message(
            destination=BUS_NAME,
            path=OBJECT_PATH,
            interface="org.freedesktop.DBus.Peer",
            member="Ping",
        )
        await self.connection.call(message, ROUND_TRIP_TIMEOUT_S)

    async def close(self) -> None:
        """Leave the bus; stop it if it was ours."""
        self._end(None)
        if self.private:
            await self.private.close()

    def _changed(self, path: str, interface: str, values: dict[str, Variant]) -> None:
        self._emit(path, changes.SIGNAL, interface, values, [])

    def _signal(self, member: str, *body: object) -> None:
        signature = schema.load(resources.INTERFACE).signals[member]
        self._emit(resources.PATH, (resources.INTERFACE, member, signature), *body)

    def _emit(self, path: str, signal: tuple[str, str, str], *body: object) -> None:
        try:
            self.connection.emit(path, signal, *body)
        except ValueError:  # one odd value must not end the tick that brought it
            log.exception("could not tell %s", signal[1])

    def _take(self, message: Message, size: int) -> None:
        if message.message_type is MessageType.METHOD_CALL:
            self._senders.admit(message, size)
            return
        close_fds(message.unix_fds)
        if message.sender == BUS and message.message_type is MessageType.SIGNAL:
            self._hear(message)

    def _hear(self, message: Message) -> None:
        """What the bus itself says: our name is lost, or a caller left."""
        if message.member == "NameLost" and message.body and message.body[0] == BUS_NAME:
            self._end(
                BusError(f"the name {BUS_NAME} was taken from us. See: busctl status {BUS_NAME}")
            )
        elif message.member == "NameOwnerChanged" and message.signature == "sss":
            name, _, owner = message.body
            if not owner:
                self._jobs.left(name)

    def _oversize(self, message: Message, _size: int) -> None:
        if message.message_type is MessageType.METHOD_CALL:
            text = "the call is too long: pass large data as a file descriptor"
            self._dispatcher.fail(message, Rejection("LimitsExceeded", text))

    def _connection_closed(self, future: asyncio.Future[None]) -> None:
        error = future.exception()
        self._end(error if isinstance(error, BusError) else None)

    def _end(self, error: BusError | None) -> None:
        if self.closed.done():
            return
        if error:
            self.closed.set_exception(error)
        else:
            self.closed.set_result(None)
        self._alerts.close()
        self._dispatcher.close()
        self._jobs.close()
        self._senders.close()
        self.connection.close()


async def _take_name(connection: Connection) -> None:
    try:
        reply = await connection.call_bus("RequestName", "su", BUS_NAME, DO_NOT_QUEUE)
    except Refused as error:
        if not error.name.endswith(".AccessDenied"):
            raise
        raise BusError(
            f"the bus does not let uid {os.getuid()} own {BUS_NAME}. Install its policy"
            f" dbus/{BUS_NAME}.conf and run as user jepad, or try: jepad --session"
        ) from error
    if reply.body[0] != PRIMARY_OWNER:
        raise BusError(
            f"{BUS_NAME} is owned by {await _owner(connection)}. Stop it first"
            " (systemctl stop jepad, or end that process), then start again"
        )


async def _owner(connection: Connection) -> str:
    try:
        reply = await connection.call_bus("GetConnectionUnixProcessID", "s", BUS_NAME)
        pid = int(reply.body[0])
        with open(f"/proc/{pid}/comm") as file:
            return f"pid {pid} ({file.read().strip()})"
    except (BusError, OSError):
        return "another process"
