"""org.jepad1.Cameras, a camera's object as long as it is known, and org.jepad1.Presence.

Owns: these objects and their signals, who may change what. Does not know: what a camera sees.
Nothing of a camera is loaded before there is one, or somebody asks for one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from jepad.bus import changes, schema
from jepad.bus.changes import Changes
from jepad.bus.connection import Connection
from jepad.bus.dispatch import Adapter, Answer, Call, Tree
from jepad.bus.manager import privileged
from jepad.bus.seam import Variant
from jepad.bus.standard import values
from jepad.bus.variants import clean, plain
from jepad.errors import SettingError
from jepad.guard import validation
from jepad.paths import OBJECT_PATH
from jepad.policy.sight import Sight

if TYPE_CHECKING:
    from jepad.policy.cameras import Cameras
    from jepad.policy.live import Event, Live

log = logging.getLogger(__name__)

INTERFACE, PRESENCE = "org.jepad1.Cameras", "org.jepad1.Presence"
PRESENCE_PATH = f"{OBJECT_PATH}/presence"
OBJECTS = "org.freedesktop.DBus.ObjectManager"
COSTS = {"List": 4.0, "Add": 20.0, "Allow": 20.0, "Remove": 20.0}
SIGNALS: dict[Event, str] = {"arrived": "Arrived", "left": "Left"}
#: More than zones as JSON need.
MAX_TEXT = 16384


class Eyes:
    """`adapter` belongs on the root object; the others it puts on the tree itself."""

    def __init__(self, sight: Sight, tree: Tree, connection: Connection) -> None:
        self._sight, self._tree, self._connection = sight, tree, connection
        own = self._presence()
        tree.add(PRESENCE_PATH, own)
        self._watched: dict[str, Adapter] = {PRESENCE_PATH: own}
        self._changes = Changes(self._watched, self._changed)
        sight.when_built(self._listen)

    def adapter(self) -> Adapter:
        """org.jepad1.Cameras."""
        return Adapter(
            schema.load(INTERFACE),
            methods={
                "List": self.list,
                "Add": self.add,
                "Allow": self.allow,
                "Remove": self.remove,
            },
            costs=COSTS,
        )

    def tick(self) -> None:
        """Tell what changed, at most once a second."""
        self._changes.tell()

    def list(self, _call: Call) -> Answer:
        """Every camera that is known."""
        if self._sight.built is None:
            return Answer([[]])
        from jepad.bus.eyes import camera

        return Answer([[camera.row(live) for live in self._sight.built.all()]])

    async def add(self, call: Call, spec: str, options: dict[str, Variant]) -> Answer:
        """Make a source known; its object."""
        privileged(call)
        given = _understood(validation.options(plain(options)))
        live = await self._sight.cameras().add(spec, given)
        return Answer([f"{OBJECT_PATH}/camera/{live.name}"])

    async def allow(self, call: Call, name: str, allowed: bool) -> Answer:
        """Give or take back the consent."""
        privileged(call)
        await self._sight.cameras().allow(name, allowed)
        return Answer()

    async def remove(self, call: Call, name: str) -> Answer:
        """Forget it."""
        privileged(call)
        await self._sight.cameras().remove(name)
        return Answer()

    def _presence(self) -> Adapter:
        def occupied() -> list[str]:
            return self._sight.built.occupied() if self._sight.built else []

        getters = {"Present": lambda: bool(occupied()), "Cameras": occupied}
        return Adapter(schema.load(PRESENCE), methods={}, getters=getters)

    # -- what the cameras say ------------------------------------------------------------------

    def _listen(self, cameras: Cameras) -> None:
        from jepad.policy.cameras import Listener

        cameras.subscribe(
            Listener(self._found, lambda live: self._came(cameras, live), self._gone, self._seen)
        )

    def _came(self, cameras: Cameras, live: Live) -> None:
        from jepad.bus.eyes import camera

        path, adapter = camera.path(live.name), camera.adapter(cameras, live)
        self._tree.add(path, adapter)
        self._watched[path] = adapter
        self._changes.known(path)
        told = {camera.INTERFACE: values(adapter)}
        self._emit(OBJECT_PATH, OBJECTS, "InterfacesAdded", path, told)

    def _gone(self, name: str) -> None:
        from jepad.bus.eyes import camera

        path = camera.path(name)
        self._tree.remove(path)
        del self._watched[path]
        self._emit(OBJECT_PATH, OBJECTS, "InterfacesRemoved", path, [camera.INTERFACE])

    def _found(self, live: Live) -> None:
        self._emit(OBJECT_PATH, INTERFACE, "CameraFound", live.name, clean(live.identity_shown))

    def _seen(self, name: str, event: Event) -> None:
        self._emit(PRESENCE_PATH, PRESENCE, SIGNALS[event], name)
        self.tick()

    def _changed(self, path: str, interface: str, told: dict[str, Variant]) -> None:
        self._send(path, changes.SIGNAL, interface, told, [])

    def _emit(self, path: str, interface: str, member: str, *body: object) -> None:
        self._send(path, (interface, member, schema.load(interface).signals[member]), *body)

    def _send(self, path: str, signal: tuple[str, str, str], *body: object) -> None:
        if self._connection.closed.done():
            return
        try:
            self._connection.emit(path, signal, *body)
        except ValueError:  # one odd value must not end the poll that brought it
            log.exception("could not tell %s", signal[1])


def _understood(given: dict[str, Any]) -> dict[str, Any]:
    """Zones come as JSON: a list of lists of points has no handy type on the bus."""
    if "zones" not in given:
        return given
    import msgspec

    text = given["zones"]
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise SettingError(f"zones: JSON of at most {MAX_TEXT} characters")
    try:
        return given | {"zones": msgspec.json.decode(text)}
    except (msgspec.DecodeError, RecursionError) as error:
        raise SettingError(f"zones: not JSON: {error}") from error
