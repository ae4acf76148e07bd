"""Asks the engine from an asyncio program.

Owns: its questions as methods, and what is refused before it is sent. Does not know sockets, what
an answer means, nor who keeps the engine alive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from jepad.engine import wire
from jepad.errors import EngineError, SettingError
from jepad.heads.prepare import CONTEXT
from jepad.records import Floats, Floats32
from jepad.worker.link import Link

R = TypeVar("R", bound=wire.Reply)
Ask = Callable[[int, int], wire.Request]  # (id, deadline_ns)


class EngineClient:
    """Connects by itself, again and again; a call waits for the engine until its deadline."""

    def __init__(self, endpoint: str) -> None:
        self._link = Link(endpoint, wire.TONGUE)

    async def __aenter__(self) -> EngineClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ask(self, kind: type[R], request: Ask, timeout: float = 1.0) -> R:
        """One call; EngineError when there is no answer of this kind in time."""
        return (await self._link.ask(kind, request, timeout)).reply

    async def ping(self, timeout: float = 1.0) -> wire.Pong:
        """Is it there, and how far has it come?"""
        return await self.ask(wire.Pong, wire.Ping, timeout)

    async def predict(
        self, values: Floats, series: Sequence[str], dt_s: float, timeout: float = 1.0
    ) -> wire.Predicted:
        """Forecast values [T, C] of any series, oldest first, NaN where unknown."""
        array = _window(values, series)
        return await self.ask(
            wire.Predicted, lambda n, deadline: wire.Predict(n, deadline, array, dt_s), timeout
        )

    async def embed(
        self, values: Floats, series: Sequence[str], dt_s: float, timeout: float = 1.0
    ) -> Floats32:
        """Embeddings [1+H, D] of a telemetry window [T, C] of rates and gauges."""
        array = _window(values, series)
        reply = await self.ask(
            wire.Embedded, lambda n, deadline: wire.Embed(n, deadline, array, dt_s), timeout
        )
        return wire.unpack(reply.embedding).astype(np.float32)

    async def foresee(
        self,
        values: Floats,
        series: Sequence[str],
        dt_s: float,
        acts: Sequence[wire.Act],
        timeout: float = 3.0,
    ) -> wire.Foreseen:
        """What would come of values [T, C] with these actions, and without."""
        array, names, asked = _window(values, series), tuple(series), tuple(acts)
        return await self.ask(
            wire.Foreseen,
            lambda n, deadline: wire.Foresee(n, deadline, array, names, dt_s, asked),
            timeout,
        )

    def fail(self, error: EngineError, everything: bool = False) -> None:
        """It is gone, and with it what it was asked; `everything`: what waits for the next, too."""
        self._link.fail(error, everything)

    async def close(self) -> None:
        """Stop reading; calls still waiting fail."""
        await self._link.close()


def _window(values: Floats, series: Sequence[str]) -> wire.Array:
    """Refused here what the engine would refuse, before it costs a copy on the wire."""
    if values.ndim != 2 or values.shape[1] != len(series):
        raise SettingError(f"values of shape {values.shape} do not match {len(series)} series")
    if not values.size or len(series) > wire.MAX_CHANNELS:
        raise SettingError(
            f"a window of shape {values.shape} is empty or has over {wire.MAX_CHANNELS} series"
        )
    return wire.pack(values[-CONTEXT:].astype(np.float64))
