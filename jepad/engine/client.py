"""Asks the engine from an asyncio program.

Owns: one DEALER socket, correlation of replies, a deadline on every call.
Does not know what an answer means, nor who keeps the engine alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import zmq
import zmq.asyncio

from jepad.engine import wire
from jepad.errors import EngineError, JepadError, ModelError, NotFound, NotReady, SettingError
from jepad.heads.prepare import CONTEXT
from jepad.records import Floats, Floats32

R = TypeVar("R", bound=wire.Reply)
Ask = Callable[[int, int], wire.Request]  # (id, deadline_ns)

_RAISED = {kind.bus_name: kind for kind in (ModelError, NotFound, NotReady, SettingError)}


class EngineClient:
    """Connects by itself, again and again; a call waits for the engine until its deadline."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        # Nothing is queued for an engine that is not there: it would answer late, or twice.
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_MESSAGE_BYTES)
        self._socket.connect(endpoint)
        self._waiting: dict[int, asyncio.Future[wire.Reply]] = {}
        self._ids = itertools.count(1)
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> EngineClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ask(self, kind: type[R], request: Ask, timeout: float = 1.0) -> R:
        """One call; EngineError when there is no answer of this kind in time."""
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="engine replies")
        number = next(self._ids)
        deadline = time.monotonic_ns() + int(timeout * 1e9)
        reply = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        try:
            async with asyncio.timeout(timeout):
                await self._socket.send(wire.encode(request(number, deadline)))
                answer = await reply
        except TimeoutError:
            raise EngineError(f"the engine gave no answer within {timeout:g} s") from None
        finally:
            del self._waiting[number]
        return _expect(kind, answer)

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

    async def close(self) -> None:
        """Stop reading; calls still waiting fail by their own deadline."""
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        self._socket.close()
        self._context.term()

    async def _read(self) -> None:
        while True:
            payload = await self._socket.recv()
            try:
                reply = wire.read_reply(payload)
            except EngineError:
                continue  # the call it was for ends by its deadline
            waiting = self._waiting.get(reply.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(reply)


def _expect(kind: type[R], answer: wire.Reply) -> R:
    if isinstance(answer, wire.Refused):
        raised: type[JepadError] = _RAISED.get(answer.bus_name, EngineError)
        raise raised(answer.message)
    if not isinstance(answer, kind):
        raise EngineError(f"the engine answered with a {type(answer).__name__}")
    return answer


def _window(values: Floats, series: Sequence[str]) -> wire.Array:
    """Refused here what the engine would refuse, before it costs a copy on the wire."""
    if values.ndim != 2 or values.shape[1] != len(series):
        raise SettingError(f"values of shape {values.shape} do not match {len(series)} series")
    if not values.size or len(series) > wire.MAX_CHANNELS:
        raise SettingError(
            f"a window of shape {values.shape} is empty or has over {wire.MAX_CHANNELS} series"
        )
    return wire.pack(values[-CONTEXT:].astype(np.float64))
