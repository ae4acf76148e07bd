"""The door to cameras: nothing of them is loaded until one is allowed, plugged in or asked for.

Owns: that moment, the task that polls, listeners who came before the cameras. Does not know:
cameras.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jepad.policy.cameras import Cameras

log = logging.getLogger(__name__)

POLL_S = 0.5
LOOK_S = 2.0


class Sight:
    """`cameras` is what may be asked; `built` the same, None while there was no need of it."""

    def __init__(self, make: Callable[[], Cameras], wanted: Callable[[], bool]) -> None:
        self._make, self._wanted = make, wanted
        self._ready: list[Callable[[Cameras], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._told = ""
        self.built: Cameras | None = None

    def cameras(self) -> Cameras:
        """All use cases."""
        if self.built is None:
            self.built = self._make()
            for ready in self._ready:
                ready(self.built)
        return self.built

    def when_built(self, ready: Callable[[Cameras], None]) -> None:
        """Be told once there are cameras to listen to."""
        self._ready.append(ready)
        if self.built is not None:
            ready(self.built)

    def summary(self) -> list[dict[str, object]]:
        """Each camera in a few words, for a description of everything."""
        return [live.summary() for live in self.built.all()] if self.built else []

    def lines(self) -> list[str]:
        """The same as text."""
        lines = [live.line() for live in self.built.all()] if self.built else []
        return lines + ([self.built.fault] if self.built and self.built.fault else [])

    async def start(self) -> None:
        """Begin to look; returns at once."""
        self._task = asyncio.create_task(self._run(), name="cameras")

    async def stop(self) -> None:
        """Look no more; processes of ours end."""
        self._stopping.set()
        if self._task is not None:
            await self._task  # not cancelled: it may be just ending a process
        if self.built is not None:
            await self.built.close()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            if self.built is None and not self._wanted():
                await self._pause(LOOK_S)
                continue
            try:
                await self.cameras().poll()
                self._told = ""
            except Exception as error:  # a fault over cameras must not end the looking
                if repr(error) != self._told:
                    log.exception("the cameras could not be looked after")
                self._told = repr(error)
            await self._pause(POLL_S)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
