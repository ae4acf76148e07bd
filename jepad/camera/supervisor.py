"""Keeps the process of one camera: as a child of this program, or as a unit that systemd keeps.

Owns: its flags, its settings' file, what it said last. Does not know: who allowed it; codecs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable

from jepad.camera import wanted, wire
from jepad.camera.settings import CameraSettings
from jepad.errors import JepadError
from jepad.paths import Places
from jepad.worker.keeper import Keeper
from jepad.worker.link import Link

#: The process answers from a thread of its own, whatever its decoder is at.
STALL_S = 6.0
START_GRACE_S = 60.0
STOP_S = 5.0
POLL_S = 0.5
AWAY_S = 3.0


class Talk:
    """Asks one camera's process; `seen` is what it said last, None if it does not answer."""

    def __init__(self, places: Places, name: str) -> None:
        where = f"ipc://{places.runtime}/{wire.socket_name(name)}.sock"
        self._link: Link[wire.Request, wire.Reply] = Link(where, wire.TONGUE)
        self.seen: wire.Seen | None = None

    async def look(self, timeout: float) -> wire.Seen:
        """How the camera is."""
        self.seen = (await self._link.ask(wire.Seen, wire.Look, timeout)).reply
        return self.seen

    async def halt(self) -> None:
        """Its streams retired, its process at its end; nothing if it is not there."""
        with contextlib.suppress(JepadError):
            await self._link.ask(wire.Pong, wire.Stop, STOP_S)

    async def close(self) -> None:
        """Ask no more."""
        await self._link.close()


class Child(Keeper):
    """A camera as our own child: `jepad --session`."""

    def __init__(self, places: Places, name: str, settings: CameraSettings) -> None:
        super().__init__(f"camera {name}", _command(places, name), STALL_S)
        self._start_grace_s = START_GRACE_S
        self._path = wanted.path_of(places.runtime, name)
        self._settings = settings
        self._talk = Talk(places, name)

    @property
    def seen(self) -> wire.Seen | None:
        """What it said last; None before its first word, and after its end."""
        return self._talk.seen

    async def start(self) -> None:
        """Begin; returns at once. SettingError when the settings can't be written."""
        wanted.write(self._path, self._settings)
        await super().start()

    async def stop(self) -> None:
        """No process and no settings are left behind."""
        await super().stop()
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    async def leave(self) -> None:
        """It ends with us."""
        await self.stop()

    async def _ask(self, timeout: float) -> str:
        await self._talk.look(timeout)
        return ""

    def _born(self) -> None:
        self._talk.seen = None

    async def _shut(self) -> None:
        self._talk.seen = None
        await self._talk.close()


class Unit:
    """A camera as a unit of its own: systemd starts it, and ends it when the device goes."""

    def __init__(
        self, places: Places, name: str, unit: str, begin: Callable[[str], Awaitable[None]]
    ) -> None:
        self.unit = unit
        self.reason = ""
        self.restarts = 0
        self._begin = begin
        self._talk = Talk(places, name)
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """running while it answers."""
        return "running" if self._talk.seen else "starting"

    @property
    def seen(self) -> wire.Seen | None:
        """What it said last; None while it does not answer."""
        return self._talk.seen

    async def start(self) -> None:
        """Ask systemd for it, unless it is there already; and go on listening."""
        self._task = asyncio.create_task(self._run(), name=self.unit)

    async def stop(self) -> None:
        """It ends itself; systemd starts none again that ended well."""
        if await self._deaf():
            await self._talk.halt()
            self._talk.seen = None
            await self._talk.close()

    async def leave(self) -> None:
        """Listen no more, and let it go on: the daemon is restarted, the camera is not."""
        if await self._deaf():
            await self._talk.close()

    async def _deaf(self) -> bool:
        """Whether there was somebody listening."""
        task, self._task = self._task, None
        if task is None:
            return False
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return True

    async def _run(self) -> None:
        if not await self._answers():
            await self._wish()
        while True:
            await asyncio.sleep(POLL_S)
            if await self._answers():
                self.reason = ""
            elif not self.reason:
                self.reason = f"{self.unit} does not answer. See: systemctl status {self.unit}"

    async def _answers(self) -> bool:
        try:
            await self._talk.look(AWAY_S)
        except JepadError:
            self._talk.seen = None
        return self._talk.seen is not None

    async def _wish(self) -> None:
        try:
            await self._begin(self.unit)
        except JepadError as error:
            self.reason = f"{error}. Start it: systemctl start {self.unit}"


def _command(places: Places, name: str) -> list[str]:
    args = [sys.executable, "-m", "jepad.camera", "--name", name, "--parent", str(os.getpid())]
    return [*args, "--runtime", places.runtime, "--prefix", places.shm_prefix]
