"""org.jepad1.WorldModel: forecasts and embeddings on request.

Owns: the shape of these answers on the bus, and those already given in this tick.
Does not know: how a forecast is made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from jepad.bus import schema
from jepad.bus.blobs import holds_pixels, npy, read_bounded, sealed, window
from jepad.bus.dispatch import Adapter, Answer, Call, Rejection
from jepad.bus.jobs import JobObjects, path
from jepad.bus.questions import question, wish
from jepad.bus.seam import Variant
from jepad.bus.usecases import Service
from jepad.bus.variants import plain, wrap_all
from jepad.errors import EngineError, SettingError
from jepad.guard import validation
from jepad.policy.jobs import Owner
from jepad.records import Floats

if TYPE_CHECKING:
    from jepad.bus.scenes import ScenePart

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
COSTS = {
    "Embed": 20.0, "PredictAction": 40.0, "EmbedFrames": 4.0, "PredictTemporal": 8.0,
    "Plan": 40.0,
}  # fmt: skip
SCENE = "scene"  # the domain that is about pictures
MAX_CACHED = 256
NS_PER_US = 1000


class WorldModel:
    """The methods; `tick` starts a new tick, whose answers are made anew."""

    def __init__(self, service: Service, jobs: JobObjects) -> None:
        self._service, self._jobs = service, jobs
        self._answers: dict[tuple[str, int], tuple[dict[str, Variant], int]] = {}
        self._part: ScenePart | None = None

    def adapter(self) -> Adapter:
        """The interface over this object."""
        return Adapter(
            schema.load("org.jepad1.WorldModel"),
            methods={
                "Predict": self.predict,
                "PredictAction": self.predict_action,
                "EmbedFrames": self.embed_frames,
                "PredictTemporal": self.predict_temporal,
                "Plan": self.plan,
                "Embed": self.embed,
                "GetWorldState": self.world_state,
            },
            costs=COSTS,
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
        self, call: Call, *asked: *tuple[str, str, Variants, int, Variants]
    ) -> Answer:
        """The forecast with an action and without it; asks the model anew each time."""
        domain, action, parameters, horizon_usec, options = asked
        if domain == SCENE:
            if action or horizon_usec:
                raise SettingError(
                    "scene: pass no action and no horizon, but the parameter actions"
                )
            return await self._scene().act(call, parameters, options)
        wanted = question(domain, action, plain(parameters), horizon_usec, plain(options))
        found = await _in_time(self._service.predict_action(wanted), "forecast")
        steps = found.pop("steps", None)
        body = wrap_all(found, ACTION_TYPES)
        if isinstance(steps, list):
            body["steps"] = Variant("aa{sv}", [wrap_all(s, MOMENT_TYPES) for s in steps])
        return Answer([body])

    async def plan(self, call: Call, domain: str, goal: Variants, options: Variants) -> Answer:
        """A job that looks for what would bring the machine, or a scene, nearest to a goal."""
        if domain == SCENE:
            return await self._scene().plan(call, goal, options)
        wished = wish(domain, plain(goal), plain(options))
        self._service.jobs.room(call.uid)
        async with self._jobs.staying(call.sender):
            job = self._service.plan(Owner(call.uid, call.sender), wished)
        return Answer([path(job)])

    async def embed(self, call: Call, handle: int, options: dict[str, Variant]) -> Answer:
        """Embeddings of a window the caller hands over, or of frames; back as a sealed file."""
        if not 0 <= handle < len(call.fds):
            raise Rejection("InvalidArgs", f"no file descriptor number {handle} came along")
        if holds_pixels(call.fds[handle], validation.MAX_FRAMES_BYTES):
            return await self.embed_frames(call, Variant("h", handle), options)
        given = validation.options(plain(options))
        if unknown := given.keys() - EMBED_OPTIONS:
            raise SettingError(f"unknown option {min(unknown)!r}: Embed takes series and dt_s")
        array = window(read_bounded(call.fds[handle], validation.MAX_WINDOW_BYTES))
        series = validation.names(given.get("series", _numbered(array)), "series")
        if len(series) != array.shape[1]:
            raise SettingError(f"{len(series)} names for {array.shape[1]} series")
        dt_s = validation.interval_s(given.get("dt_s", 1.0))
        found = await _in_time(self._service.embed(array, series, dt_s), "embedding")
        body = {"embedding": Variant("h", 0), "model": Variant("s", self._service.model_id())}
        return Answer([body], [sealed("jepad-embedding", npy(found))])

    async def embed_frames(self, call: Call, frames: Variant, options: Variants) -> Answer:
        """Tokens of a clip."""
        return await self._scene().embed(call, frames, options)

    async def predict_temporal(
        self, call: Call, frames: Variant, horizon_usec: int, options: Variants
    ) -> Answer:
        """Tokens of what follows a clip."""
        return await self._scene().predict(call, frames, horizon_usec, options)

    def world_state(self, _call: Call) -> Answer:
        """The machine in a few words."""
        return Answer([wrap_all(self._service.world_state(), STATE_TYPES)])

    def _scene(self) -> ScenePart:
        """NotReady where no model of pictures is served."""
        if self._part is None:
            scenes = self._service.scenes()
            from jepad.bus.scenes import ScenePart  # only where one is

            self._part = ScenePart(scenes, self._jobs)
        return self._part

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
