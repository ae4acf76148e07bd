"""Has the model of pictures watch the cameras that run.

Owns: asking for it again and again, since an engine that began anew knows of none. Does not know:
what an embedding means, which cameras there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Protocol

from jepad import config
from jepad.errors import JepadError
from jepad.policy.live import Followed, Live
from jepad.scene import wire

ASK_S = 5.0
TIMEOUT_S = 10.0
DROP_S = 2.0


class Watcher(Protocol):
    """The scene engine, as far as it is asked here."""

    async def follow(self, watched: wire.Watched, timeout: float = TIMEOUT_S) -> wire.Following:
        """Embed a stream as it comes."""

    async def unfollow(self, stream: str, timeout: float = TIMEOUT_S) -> wire.Following:
        """No more of it; what was published is wiped."""


class Following:
    """`look` at the cameras now and then; returns at once."""

    def __init__(self, watcher: Watcher, settings: config.Camera) -> None:
        self._watcher, self._settings = watcher, settings
        self._asked: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def look(self, lives: Iterable[Live]) -> None:
        """Ask about each that runs, unless it was asked about a moment ago."""
        now = time.monotonic()
        for live in lives:
            if live.name in self._tasks or now - self._asked.get(live.name, -ASK_S) < ASK_S:
                continue
            if live.state == "running":
                self._asked[live.name] = now
                self._begin(live)

    async def drop(self, live: Live) -> None:
        """It may not be watched any more: its embeddings go at once."""
        if task := self._tasks.get(live.name):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._asked.pop(live.name, None) is not None:
            with contextlib.suppress(JepadError):
                await self._watcher.unfollow(f"frames.{live.name}", DROP_S)
        live.followed = Followed()

    def close(self) -> None:
        """Ask no more."""
        for task in self._tasks.values():
            task.cancel()

    def _begin(self, live: Live) -> None:
        task = asyncio.ensure_future(self._ask(live))
        self._tasks[live.name] = task
        task.add_done_callback(lambda _: self._tasks.pop(live.name, None))

    async def _ask(self, live: Live) -> None:
        try:
            said = await self._watcher.follow(self._watched(live), TIMEOUT_S)
        except JepadError as error:
            live.followed = Followed(why=str(error))
            return
        alive = said.state in ("running", "waiting")
        live.followed = Followed(
            said.embeddings if alive else "",
            said.predictions if alive else "",
            said.learned,
            said.reason or said.why,
        )

    def _watched(self, live: Live) -> wire.Watched:
        minutes = live.options.get("retention_min", self._settings.retention_min)
        assert isinstance(minutes, int | float)
        return wire.Watched(
            stream=f"frames.{live.name}",
            gate=f"motion.{live.name}",
            retention_s=max(1.0, 60.0 * minutes),
            ahead_s=self._settings.ahead_s,
        )
