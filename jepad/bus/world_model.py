"""org.jepad1.WorldModel: forecasts and embeddings on request.

Owns: the shape of these answers on the bus, and those already given in this tick.
Does not know: how a forecast is made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

from jepad.bus import schema
from jepad.bus.blobs import npy, read_bounded, sealed, window
from jepad.bus.dispatch import Adapter, Answer, Call, Rejection
from jepad.bus.questions import question
from jepad.bus.seam import Variant
from jepad.bus.usecases import Service
from jepad.bus.variants import plain, wrap_all
from jepad.errors import EngineError, SettingError
from jepad.guard import validation
from jepad.records import Floats

R = TypeVar("R")
Variants = dict[str, Variant]

PREDICT_TYPES = {
    "series": "as",
    "units": "as",
    "horizon_usec": "t",
    "p10": "ad",
    "p50": "ad",
    "p90": "ad",
    "confidence": "d",
    "part": "s",
    "parts": "as",
    "weights": "ad",
    "silent": "as",
    "model": "s",
    "age_usec": "t",
    "source_n": "x",
}
ROWS = "a(ddd)"  # p10, p50 and p90 of each series
MOMENT_TYPES = {"horizon_usec": "t", "without": ROWS, "with": ROWS, "difference": ROWS}
ACTION_TYPES = PREDICT_TYPES | MOMENT_TYPES | {"actions": "as"}
STATE_TYPES = {"source_n": "x", "surprise": "d", "anomaly_series": "as"}
EMBED_OPTIONS = {"series", "dt_s"}
ENGINE_TIMEOUT_S = 10.0
EMBED_COST, ACTION_COST = 20.0, 40.0
MAX_CACHED = 256
NS_PER_US = 1000


class WorldModel:
    """The methods; `tick` starts a new tick, whose answers are made anew."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._answers: dict[tuple[str, int], tuple[dict[str, Variant], int]] = {}

    def adapter(self) -> Adapter:
        """The interface over this object."""
        return Adapter(
            schema.load("org.jepad1.WorldModel"),
            methods={
                "Predict": self.predict,
                "PredictAction": self.predict_action,
                "Embed": self.embed,
                "GetWorldState": self.world_state,
            },
            costs={"Embed": EMBED_COST, "PredictAction": ACTION_COST},
        )

    def tick(self) -> None:
        """A new forecast is in force."""
        self._answers.clear()

    def predict(
        self, _call: Call, domain: str, horizon_usec: int, options: dict[str, Variant]
    ) -> Answer:
        """The forecast in force; made once a tick, but for its age."""
        if options:
            given = validation.options(plain(options))
            return Answer([self._predict(domain, horizon_usec, given)])
        now_us = time.monotonic_ns() // NS_PER_US
        known = self._answers.get((domain, horizon_usec))
        if known is None:
            made = self._predict(domain, horizon_usec, {})
            known = made, now_us - int(made["age_usec"].value)
            if len(self._answers) < MAX_CACHED:
                self._answers[domain, horizon_usec] = known
        answer, born_us = known
        return Answer([answer | {"age_usec": Variant("t", now_us - born_us)}])

    async def predict_action(
        self, _call: Call, *asked: *tuple[str, str, Variants, int, Variants]
    ) -> Answer:
        """The forecast with an action and without it; asks the model anew each time."""
        domain, action, parameters, horizon_usec, options = asked
        wanted = question(domain, action, plain(parameters), horizon_usec, plain(options))
        found = await _in_time(self._service.predict_action(wanted), "forecast")
        steps = found.pop("steps", None)
        body = wrap_all(found, ACTION_TYPES)
        if isinstance(steps, list):
            body["steps"] = Variant("aa{sv}", [wrap_all(s, MOMENT_TYPES) for s in steps])
        return Answer([body])

    async def embed(self, call: Call, handle: int, options: dict[str, Variant]) -> Answer:
        """Embeddings of a window the caller hands over; back as a sealed file."""
        given = validation.options(plain(options))
        if unknown := given.keys() - EMBED_OPTIONS:
            raise SettingError(f"unknown option {min(unknown)!r}: Embed takes series and dt_s")
        if not 0 <= handle < len(call.fds):
            raise Rejection("InvalidArgs", f"no file descriptor number {handle} came along")
        array = window(read_bounded(call.fds[handle], validation.MAX_WINDOW_BYTES))
        series = validation.names(given.get("series", _numbered(array)), "series")
        if len(series) != array.shape[1]:
            raise SettingError(f"{len(series)} names for {array.shape[1]} series")
        dt_s = validation.interval_s(given.get("dt_s", 1.0))
        found = await _in_time(self._service.embed(array, series, dt_s), "embedding")
        body = {"embedding": Variant("h", 0), "model": Variant("s", self._service.model_id())}
        return Answer([body], [sealed("jepad-embedding", npy(found))])

    def world_state(self, _call: Call) -> Answer:
        """The machine in a few words."""
        return Answer([wrap_all(self._service.world_state(), STATE_TYPES)])

    def _predict(
        self, domain: str, horizon_usec: int, options: dict[str, object]
    ) -> dict[str, Variant]:
        validation.name(domain, "domain")
        validation.horizon_us(horizon_usec)
        return wrap_all(self._service.predict(domain, horizon_usec, options), PREDICT_TYPES)


async def _in_time(answer: Awaitable[R], what: str) -> R:
    try:
        async with asyncio.timeout(ENGINE_TIMEOUT_S):
            return await answer
    except TimeoutError as error:
        raise EngineError(f"no {what} within {ENGINE_TIMEOUT_S:g} s") from error


def _numbered(array: Floats) -> list[str]:
    return [f"series{i}" for i in range(array.shape[1])]
