"""Cameras: which there are, which may look, who is told when somebody comes into view.

Owns: the use cases, the life of each camera from consent to its end. Does not know: D-Bus, codecs,
how a process is kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jepad.camera import wanted
from jepad.camera.readers import Readers
from jepad.camera.settings import CameraSettings
from jepad.errors import JepadError, NotFound, SettingError
from jepad.guard import feeds
from jepad.guard.consent import MAX_CAMERAS, Camera, Consent
from jepad.guard.plugged import Device
from jepad.policy.following import Following
from jepad.policy.live import Event, Live, Process

log = logging.getLogger(__name__)

#: Between two looks at what is plugged in and what is allowed.
LOOK_S = 2.0
#: All of /proc is searched for them.
READERS_S = 5.0
#: Told in the journal, see systemd/jepad.catalog.
FOUND = "5c1b0e6f7d0c4a55a2f4a4b1c9d3e870"
ALLOWED = "b7a9e3c45f1842d1a0c86e1f27d9b3f1"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the use cases work with."""

    consent: Consent
    plugged: Callable[[], Sequence[Device]]
    settings: Callable[[Camera, str], CameraSettings]  # of a camera, with its source
    process: Callable[[Live, CameraSettings], Process]
    readers: Callable[[Sequence[str]], Readers]  # of streams, by their names
    following: Following | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told."""

    found: Callable[[Live], None]  # plugged in, and nobody asked for it
    came: Callable[[Live], None]  # a camera is known
    gone: Callable[[str], None]  # a camera is known no more
    seen: Callable[[str, Event], None]  # somebody arrived at, or left, the camera of that name


class Cameras:
    """One method a use case; `poll` is called twice a second."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lives: dict[str, Live] = {}
        self._listeners: list[Listener] = []
        self._looked = float("-inf")
        self._lock = asyncio.Lock()
        #: When they were looked up, and of which streams.
        self._readers: tuple[float, list[str], Readers] = (0.0, [], Readers((), 0))
        self.fault = ""  # why none is opened

    def subscribe(self, listener: Listener) -> None:
        """Hear of every camera from now on, and of those that are known."""
        self._listeners.append(listener)
        for live in self._lives.values():
            listener.came(live)

    def all(self) -> list[Live]:
        """Every camera that is known, allowed or not, by name."""
        return [self._lives[name] for name in sorted(self._lives)]

    def get(self, name: str) -> Live:
        """NotFound when there is none of that name."""
        if name not in self._lives:
            names = ", ".join(sorted(self._lives)) or "none"
            raise NotFound(f"no camera {name[:40]!r}. There are: {names}")
        return self._lives[name]

    def occupied(self) -> list[str]:
        """Names of cameras that have somebody in view."""
        return [live.name for live in self.all() if live.present]

    def readers(self, name: str) -> Readers:
        """Who has a stream of this camera open; looked up at most every few seconds."""
        streams = self.get(name).streams()
        every = [stream for live in self.all() for stream in live.streams()]
        at, of, known = self._readers
        if every != of or time.monotonic() - at >= READERS_S:
            known = self._parts.readers(every) if every else Readers((), 0)
            self._readers = (time.monotonic(), every, known)
        return Readers(tuple(r for r in known.found if r.stream in streams), known.unseen)

    # -- what a person says --------------------------------------------------------------------

    async def add(self, spec: str, given: Mapping[str, Any]) -> Live:
        """Make a source known. A recording or a computed picture is allowed by that; whatever may
        have somebody in front of it waits for `allow`, unless that was said here."""
        options = dict(given)
        feed = feeds.feed(spec)
        name, allowed = options.pop("name", None), options.pop("allow", feed.harmless)
        if not isinstance(allowed, bool) or not isinstance(name, str | None):
            raise SettingError("name is a string and allow a boolean")
        kept = wanted.options_of(options, feed.source)
        async with self._lock:
            await self._settle()
            identity, product, slug = self._identified(feed)
            name = self._named(name, identity, slug)
            camera = Camera(name, identity, feed.source, product, allowed, kept)
            self._parts.settings(camera, feed.source)  # with the settings of all: SettingError
            self._parts.consent.put(camera)
            await self._settle()
        _audit(f"camera {name} was added{', and allowed' if allowed else ''}")
        return self.get(name)

    async def allow(self, name: str, allowed: bool) -> None:
        """Give or take back the consent to look through a camera; taken back, it ends now."""
        async with self._lock:
            live = self.get(name)
            if live.asked:
                self._parts.consent.allow(name, allowed)
            else:
                camera = Camera(name, live.identity, live.source, live.product, allowed)
                self._parts.consent.put(camera)
            await self._settle()
        _audit(f"camera {name} is {'allowed' if allowed else 'not allowed any more'}")

    async def remove(self, name: str) -> None:
        """Forget it, and that it was allowed. One that is plugged in is unknown again."""
        async with self._lock:
            live = self.get(name)
            if not live.asked:
                raise SettingError(f"camera {name} is plugged in and not allowed: unplug it")
            self._parts.consent.remove(name)
            await self._settle()
        _audit(f"camera {name} was removed")

    # -- what happens --------------------------------------------------------------------------

    async def poll(self) -> None:
        """See what is plugged in, what is allowed, who is in view."""
        async with self._lock:
            if time.monotonic() - self._looked >= LOOK_S:
                await self._settle()
        for live in self.all():
            self._note(live)
        if self._parts.following:
            self._parts.following.look(self.all())

    async def close(self) -> None:
        """End the processes that are ours; units go on."""
        if self._parts.following:
            self._parts.following.close()
        async with self._lock:
            alive = [live.process for live in self._lives.values() if live.process]
            await asyncio.gather(*(process.leave() for process in alive))

    async def _settle(self) -> None:
        """Look at consents and devices, and start and stop what has to. A consent that can't be
        read is none."""
        self._looked = time.monotonic()
        known = self._consented()
        if known is None:
            for live in self._lives.values():
                live.allowed = False
                await self._stop(live)
            return
        devices = {device.identity: device for device in self._parts.plugged()}
        for name in [n for n, live in self._lives.items() if not _same(live, known.get(n))]:
            await self._forget(name)
        kept = {self._know(c, devices.pop(c.identity, None)) for c in known.values()}
        kept |= {self._find(device) for device in list(devices.values())[:MAX_CAMERAS]}
        for name in set(self._lives) - kept:
            await self._forget(name)
        for live in self._lives.values():
            await self._conduct(live)

    def _consented(self) -> dict[str, Camera] | None:
        try:
            known, self.fault = self._parts.consent.cameras(), ""
        except SettingError as error:
            if str(error) != self.fault:
                log.error("%s", error)
            self.fault = str(error)
            return None
        return known

    def _know(self, camera: Camera, device: Device | None) -> str:
        """A camera that somebody asked for, as it is now; its name."""
        live = self._lives.get(camera.name)
        new = live is None
        live = live or Live(camera.name, camera.identity, camera.source, camera.product)
        live.asked, live.allowed, live.options = True, camera.allowed, camera.options
        live.plugged = device is not None or not camera.identity.startswith("v4l2:")
        if device:
            live.node, live.source = device.node, f"/dev/{device.node}"
        if new:
            self._lives[camera.name] = live
            self._tell("came", live)
        return camera.name

    def _find(self, device: Device) -> str:
        """A camera that is plugged in and nobody asked for; its name."""
        same = [live.name for live in self._lives.values() if live.identity == device.identity]
        if same and not self._lives[same[0]].asked:
            return same[0]
        name = feeds.free_name(device.product, self._lives)
        source = f"/dev/{device.node}"
        live = Live(name, device.identity, source, device.product, asked=False, node=device.node)
        self._lives[name] = live
        text = f"camera {name} is plugged in and nobody knows it: {device.product}"
        log.warning("%s. Nothing was opened", text, extra=_fields(FOUND, name))
        self._tell("came", live)
        self._tell("found", live)
        return name

    async def _conduct(self, live: Live) -> None:
        """It runs if it may, from where it is plugged in now."""
        if live.process is not None and (not live.may_look or live.opened != live.source):
            await self._stop(live)
        if live.may_look and live.process is None:
            await self._start(live)

    async def _start(self, live: Live) -> None:
        camera = Camera(live.name, live.identity, live.source, options=live.options)
        live.opened = live.source
        try:
            live.process = self._parts.process(live, self._parts.settings(camera, live.source))
            await live.process.start()
            live.fault = ""
        except JepadError as error:
            live.process, live.fault = None, str(error)

    async def _stop(self, live: Live) -> None:
        process, live.process, live.fault = live.process, None, ""
        if process is None:
            return
        self._note(live)
        if self._parts.following:
            await self._parts.following.drop(live)
        await process.stop()

    async def _forget(self, name: str) -> None:
        await self._stop(self._lives[name])
        del self._lives[name]
        self._tell("gone", name)

    def _identified(self, feed: feeds.Feed) -> tuple[str, str, str]:
        """Identity, product and what a name is made of. A device has to be there for it."""
        if feed.kind != "device":
            return feed.identity, "", feed.slug
        node = feed.source.removeprefix("/dev/")
        there = {device.node: device for device in self._parts.plugged()}
        if node not in there:
            names = ", ".join(f"/dev/{n}" for n in there) or "none"
            raise NotFound(f"{feed.source} is no camera that is plugged in. There are: {names}")
        return there[node].identity, there[node].product, there[node].product

    def _named(self, name: str | None, identity: str, slug: str) -> str:
        same = [live for live in self._lives.values() if live.identity == identity]
        if any(live.asked for live in same):
            raise SettingError(f"it is there already: camera {same[0].name}. Remove that first")
        others = {n for n, live in self._lives.items() if live.identity != identity}
        if name is None:
            return same[0].name if same else feeds.free_name(slug, others)
        if name in others:
            raise SettingError(f"camera {name} is there already: choose another name")
        return feeds.name(name)

    def _note(self, live: Live) -> None:
        """Tell of somebody who came or went by what its process says now."""
        if event := live.update():
            self._tell("seen", live.name, event)

    def _tell(self, what: str, *words: object) -> None:
        for listener in self._listeners:
            getattr(listener, what)(*words)


def _same(live: Live, camera: Camera | None) -> bool:
    """Whether a camera that is known is the one of that name in the consents, or was just found."""
    return live.identity == camera.identity if camera else not live.asked


def _audit(text: str) -> None:
    log.info("%s", text, extra=_fields(ALLOWED, text.split()[1]))


def _fields(message_id: str, name: str) -> dict[str, dict[str, str]]:
    return {"fields": {"MESSAGE_ID": message_id, "JEPAD_CAMERA": name}}
