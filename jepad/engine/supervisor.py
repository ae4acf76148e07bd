"""Keeps one engine alive as a child of this asyncio program.

Owns: its flags, the verdict that it forecasts no more. Does not know forecasts, and loads neither
onnxruntime nor torch.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from jepad.engine.client import EngineClient
from jepad.engine.follow import Follower
from jepad.errors import EngineError
from jepad.paths import Places
from jepad.worker.keeper import Keeper


class Supervisor(Keeper):
    """start(), then read `state`; stop() leaves no process behind, and its streams say STOPPED."""

    def __init__(
        self,
        places: Places,
        model: str = "",  # path of a card; "" = the one shipped
        series: Sequence[str] = (),  # patterns; () = built in
        stall_s: float = 10.0,
        transient: bool = False,  # remove its streams when it stops
    ) -> None:
        # A trace's series have another machine's names and habits: nothing of them is kept.
        kept = ["--transient"] if transient else ["--state", places.state]
        super().__init__("engine", _command(places, model, series) + kept, stall_s)
        self.client = EngineClient(places.engine_socket)
        self._telemetry = Follower(places.shm_prefix, "telemetry")
        self._progress = Progress(time.monotonic())

    def _born(self) -> None:
        self._progress = Progress(time.monotonic())

    def _died(self, error: EngineError, lasting: bool) -> None:
        self.client.fail(error, lasting)

    async def _ask(self, timeout: float) -> str:
        pong = await self.client.ping(timeout)
        telemetry = self._telemetry.stream()
        seen = (pong.source_n, telemetry.head if telemetry else -1)
        return self._progress.behind(time.monotonic(), self._stall_s, seen)

    async def _shut(self) -> None:
        await self.client.close()
        self._telemetry.close()


class Progress:
    """When the engine last got on; it must while telemetry does."""

    def __init__(self, now: float) -> None:
        self._fresh = now
        self._source_n = -1

    def behind(self, now: float, limit: float, seen: tuple[int, int]) -> str:
        """Why to end an engine that answers but forecasts no more, or "".

        `seen` is the sequence it forecast from last, and that of the newest telemetry."""
        source_n, head = seen
        if head >= 0 and source_n != head and source_n == self._source_n:
            late = now - self._fresh
            return f"no forecast for {late:.0f} s while telemetry goes on" if late > limit else ""
        self._fresh, self._source_n = now, source_n
        return ""


def _command(places: Places, model: str, series: Sequence[str]) -> list[str]:
    args = [sys.executable, "-m", "jepad.engine", "--parent", str(os.getpid())]
    args += ["--runtime", places.runtime, "--prefix", places.shm_prefix]
    args += ["--model", model] if model else []
    return args + [arg for pattern in series for arg in ("--series", pattern)]
