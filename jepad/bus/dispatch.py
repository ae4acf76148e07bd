"""From a call to its answer: find the method, run it, turn errors into replies in one place.

Owns: the objects, what is refused and in which words, the descriptors that came with a call.
Does not know: sockets; what the methods do.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from jepad.bus.connection import Connection, close_fds
from jepad.bus.schema import Interface
from jepad.bus.seam import Message, MessageFlag, MessageType
from jepad.bus.variants import clean
from jepad.errors import JepadError, RateLimited
from jepad.guard.limits import Limits

log = logging.getLogger(__name__)

STANDARD = "org.freedesktop.DBus.Error."
INTERNAL = "org.jepad1.Error.Internal"
MAX_TEXT = 1024
#: Cost of the calls that wait, for an engine say: of one user, and of all together.
MAX_WAITING_OF_ONE, MAX_WAITING = 160.0, 640.0


class Rejection(Exception):
    """A call that is wrong by the rules of D-Bus itself."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.bus_name = STANDARD + kind


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls what, with which descriptors; they are closed when the method is done."""

    sender: str
    uid: int
    path: str
    fds: tuple[int, ...]
    cost: float = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The arguments of a reply; an `h` in `body` is an index into `fds`, which are given away."""

    body: list[object] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)


Run = Callable[..., Answer | Awaitable[Answer]]  # (Call, *arguments)


def everybody(_call: Call) -> None:
    """Whoever got so far may."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One interface of one object: what is declared, and who answers. The two must agree."""

    interface: Interface
    methods: Mapping[str, Run]
    getters: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    setters: Mapping[str, Callable[[Call, object], None]] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    admit: Callable[[Call], None] = everybody  # raises for whom it is none of their business

    def __post_init__(self) -> None:
        declared = self.interface
        writable = {name for name, p in declared.properties.items() if p.writable}
        if (set(declared.methods), set(declared.properties), writable) != (
            set(self.methods),
            set(self.getters),
            set(self.setters),
        ):
            raise ValueError(f"{declared.name}: its XML and its adapter differ")


class Tree:
    """Objects by path; `common` interfaces are on every one of them."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Adapter]] = {}
        self.common: dict[str, Adapter] = {}
        self.changes = 0  # how often an object came or went

    def add(self, path: str, *adapters: Adapter) -> None:
        """Put interfaces on an object."""
        at = self.objects.setdefault(path, {})
        at.update({a.interface.name: a for a in adapters})
        self.changes += 1

    def remove(self, path: str) -> None:
        """Take an object away."""
        del self.objects[path]
        self.changes += 1

    def at(self, path: str) -> dict[str, Adapter]:
        """All interfaces of an object, or of a mere node above one."""
        if path in self.objects:
            return self.common | self.objects[path]
        if self.children(path):
            return self.common
        raise Rejection("UnknownObject", f"no object at {path[:255]}")

    def children(self, path: str) -> list[str]:
        """Names of the nodes right below."""
        above = path.rstrip("/") + "/"
        found = {p[len(above) :].split("/")[0] for p in self.objects if p.startswith(above)}
        return sorted(found)


class Dispatcher:
    """Answers each call once, whatever happens in between."""

    def __init__(self, connection: Connection, tree: Tree, limits: Limits) -> None:
        self._connection = connection
        self._tree = tree
        self._limits = limits
        self._tasks: dict[asyncio.Task[None], Call] = {}

    def run(self, message: Message, uid: int) -> None:
        """Run a call; its answer is sent now, or later for a method that waits."""
        try:
            adapter, member = self._find(message)
            cost = adapter.costs.get(member, 1.0)
            self._limits.spend(uid, cost)
            _check(message, adapter, member)
            fds = tuple(message.unix_fds)
            call = Call(message.sender or "", uid, message.path or "", fds, cost)
            adapter.admit(call)
            result = adapter.methods[member](call, *message.body)
            gives = adapter.interface.methods[member].gives
            if inspect.isawaitable(result):
                self._later(message, call, gives, result)
                return
            assert isinstance(result, Answer)
            self._reply(message, gives, result)
        except Exception as error:  # noqa: BLE001 whatever it is, the caller gets one answer
            self.fail(message, error)
        else:
            close_fds(message.unix_fds)

    def fail(self, message: Message, error: Exception) -> None:
        """Answer with an error, and let go of what came with the call."""
        close_fds(message.unix_fds)
        if not _wants_reply(message):
            return
        if not isinstance(error, JepadError | Rejection):
            log.error("%s failed", message.member, exc_info=error)
        name, text = words(error)
        reply = Message(
            message_type=MessageType.ERROR,
            reply_serial=message.serial,
            destination=message.sender,
            error_name=name,
            signature="s",
            body=[text],
        )
        self._connection.send(reply)

    def close(self) -> None:
        """Stop the methods that wait."""
        for task in self._tasks:
            task.cancel()

    def _find(self, message: Message) -> tuple[Adapter, str]:
        adapters = self._tree.at(message.path or "")
        member = message.member or ""
        if message.interface:
            adapter = adapters.get(message.interface)
            if adapter is None:
                raise Rejection(
                    "UnknownInterface", f"no interface {message.interface} at {message.path}"
                )
            found = [adapter] if member in adapter.methods else []
        else:
            found = [a for a in adapters.values() if member in a.methods]
        if len(found) > 1:
            names = ", ".join(a.interface.name for a in found)
            raise Rejection("UnknownMethod", f"{member} is in {names}: name the interface")
        if not found:
            raise Rejection("UnknownMethod", f"no method {member} at {message.path}")
        return found[0], member

    def _later(self, message: Message, call: Call, gives: str, result: Awaitable[Answer]) -> None:
        waiting = self._tasks.values()
        own = sum(other.cost for other in waiting if other.uid == call.uid) + call.cost
        whole = sum(other.cost for other in waiting) + call.cost
        if own > MAX_WAITING_OF_ONE or whole > MAX_WAITING:
            if inspect.iscoroutine(result):
                result.close()
            raise RateLimited("too many calls wait for their answer. retry-after: 1.00 s")

        async def finish() -> None:
            try:
                self._reply(message, gives, await result)
            except asyncio.CancelledError:
                close_fds(message.unix_fds)
                raise
            except Exception as error:  # noqa: BLE001 as in run()
                self.fail(message, error)
            else:
                close_fds(message.unix_fds)

        task = asyncio.ensure_future(finish())
        self._tasks[task] = call
        task.add_done_callback(self._tasks.pop)

    def _reply(self, message: Message, gives: str, answer: Answer) -> None:
        if not _wants_reply(message):
            close_fds(answer.fds)
            return
        reply = Message(
            message_type=MessageType.METHOD_RETURN,
            reply_serial=message.serial,
            destination=message.sender,
            signature=gives,
            body=answer.body,
        )
        self._connection.send(reply, answer.fds)


def _wants_reply(message: Message) -> bool:
    return not message.flags & MessageFlag.NO_REPLY_EXPECTED


def _check(message: Message, adapter: Adapter, member: str) -> None:
    takes = adapter.interface.methods[member].takes
    if message.signature != takes:
        raise Rejection("InvalidArgs", f"{member} takes ({takes}), not ({message.signature})")


def words(error: Exception) -> tuple[str, str]:
    """The error as the caller may see it: ours in full, of any other not even the kind."""
    if isinstance(error, JepadError | Rejection):
        return error.bus_name, clean(str(error))[:MAX_TEXT]
    return INTERNAL, "internal error of jepad. See: journalctl -u jepad"
