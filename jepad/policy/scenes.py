"""What may be asked about pictures: their embedding, what comes next, a plan to a goal.

Owns: the use cases of the scene engine, times in terms of frames, a plan as a job.
Does not know: D-Bus, where frames come from, how the model runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from jepad.errors import EngineError, JepadError, Late, NotFound, NotReady, SettingError, named
from jepad.policy.jobs import Job, Jobs, Owner, Report
from jepad.records import Floats32
from jepad.scene import wire
from jepad.scene.client import Answer, Frames, Quest, SceneClient
from jepad.view import quantity

#: A small plan is done in a blink, a large one takes minutes.
FIRST_POLL_S, POLL_S = 0.02, 0.2
#: Between two looks at what is served, and while nothing is known of it.
LOOK_S, EAGER_S = 5.0, 1.0
#: The engine may be busy with others' batches; a plan is lost only if it is silent for so long.
SILENT = 25  # polls
US = 1e6


@dataclass(frozen=True, slots=True)
class Manner:
    """How an answer is wished for."""

    until: float  # CLOCK_MONOTONIC seconds: of the whole call, whatever it waits for
    pool: Literal["tokens", "mean"] = "tokens"
    fps: float = 4.0  # of the frames, as V-JEPA 2 was trained
    classes: int = 0  # so many of the most probable ones beside an embedding

    def left(self) -> float:
        """Seconds. Late when there are none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise Late("no answer within the deadline")
        return left


@dataclass(frozen=True, slots=True)
class Served:
    """What the use cases work with."""

    model: str  # as the settings name it
    client: SceneClient
    state: Callable[[], str]  # of the engine
    reason: Callable[[], str]  # why it ended last; "" if it never did
    streams: Callable[[], Sequence[str]]  # that may be named


class Scenes:
    """One method a use case."""

    def __init__(self, served: Served, jobs: Jobs) -> None:
        self._served, self._client, self._jobs = served, served.client, jobs
        self._seen: wire.Described | None = None
        self._looked = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Ask the engine what it serves, now and then; returns at once."""
        now = time.monotonic()
        pause_s = LOOK_S if self._seen else EAGER_S
        if now - self._looked >= pause_s and (self._looking is None or self._looking.done()):
            self._looked = now
            self._looking = asyncio.ensure_future(self._look())

    def summary(self) -> dict[str, object]:
        """How the engine is, and what it serves as it said last."""
        served = self._served
        body: dict[str, object] = {"state": served.state(), "reason": served.reason()}
        if self._seen is None:
            return body | {"model": served.model}
        told = msgspec.to_builtins(self._seen)
        return body | {
            key: value for key, value in told.items() if key not in ("type", "id", *body)
        }

    def line(self) -> str:
        """The same in words."""
        seen, state = self._seen, self._served.state()
        if seen is None or state in ("failed", "restarting"):
            why = self._served.reason()
            return f"{self._served.model}: {state}" + (f": {why}" if why else "")
        size = quantity(seen.resident_bytes, "B")
        return f"{seen.model}, V-JEPA {seen.version}, on {seen.device} in {seen.precision}, {size}"

    async def _look(self) -> None:
        try:
            self._seen = await self._client.describe()
        except JepadError:
            self._seen = None

    async def embed(self, frames: Frames, manner: Manner) -> Answer:
        """Tokens [K, D] of a clip, or their mean [D]; and its classes, if wished."""
        self._check(frames)
        return await self._client.embed(
            frames, pool=manner.pool, timeout=manner.left(), classes=manner.classes
        )

    async def predict(self, frames: Frames, horizon_us: int, manner: Manner) -> tuple[Answer, int]:
        """Tokens of what follows a clip, up to the first step that is not nearer than the horizon;
        and the time up to there."""
        self._check(frames)
        model = await self._client.describe(timeout=manner.left())
        step_us = model.tubelet / manner.fps * US
        ahead = max(1, math.ceil(horizon_us / step_us - 1e-9))
        if ahead > wire.MAX_AHEAD:
            most = int(wire.MAX_AHEAD * step_us)
            raise SettingError(f"horizon of {horizon_us} us: at {manner.fps:g} fps up to {most}")
        answer = await self._client.predict_temporal(
            frames, ahead, pool=manner.pool, timeout=manner.left()
        )
        return answer, round(ahead * step_us)

    async def act(
        self, frames: Frames, state: Sequence[float], actions: Sequence[float], manner: Manner
    ) -> Answer:
        """Embeddings [H, K, D] and states [H, S] after each of H actions, given one after another.

        A model without actions is NotReady."""
        self._check(frames)
        model = await self._client.describe(timeout=manner.left())
        if not model.actions:
            raise NotReady(f"{model.model} was never shown an action. See: jepactl model list")
        rows = np.asarray(actions, np.float32)
        if not rows.size or rows.size % model.actions:
            raise SettingError(
                f"actions: {rows.size} numbers; an action of {model.model} has {model.actions}"
            )
        table: Floats32 = rows.reshape(-1, model.actions)
        return await self._client.predict_action(frames, state, table, timeout=manner.left())

    def room(self, uid: int) -> None:
        """RateLimited when one more plan of this user would be too many."""
        self._jobs.room(uid)

    async def begin(self, quest: Quest, manner: Manner) -> str:
        """Have the engine look for a plan; the name of its work there, for `follow`."""
        self._check(quest.frames)
        if isinstance(quest.goal, wire.Streamed):
            self._check(quest.goal)
        return await self._client.plan_start(quest, timeout=manner.left())

    def follow(self, owner: Owner, work: str) -> Job:
        """Make the engine's work a job of its owner."""
        return self._jobs.start(owner, lambda report: self._followed(work, report))

    async def drop(self, work: str) -> None:
        """Nobody wants it any more."""
        with contextlib.suppress(JepadError):
            await self._client.cancel(work)

    async def _followed(self, work: str, report: Report) -> dict[str, object]:
        try:
            state = await self._ended(work, report)
        except asyncio.CancelledError:
            await self.drop(work)
            raise
        if state.state == "failed":
            raise named(state.error[0])(state.error[1])
        if state.result is None:
            raise JepadError("the scene engine cancelled the plan: it stops, or was asked to")
        return planned(state.result, state.energies)

    async def _ended(self, work: str, report: Report) -> wire.JobState:
        silent, pause_s = 0, FIRST_POLL_S
        while True:
            try:
                state = await self._client.plan_status(work)
            except NotFound as error:  # asked so often, it would be known to whoever began it
                raise EngineError("the engine was restarted; plan again") from error
            except EngineError:
                silent += 1
                if silent >= SILENT or self._served.state() == "failed":
                    raise
            else:
                silent = 0
                if state.state in ("done", "failed", "cancelled"):
                    return state
                report(state.done / max(state.total, 1), _words(state))
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, POLL_S)

    def _check(self, frames: Frames) -> None:
        """What can be refused without asking: an engine that only a person can mend, a stream that
        isn't there."""
        if self._served.state() == "failed":
            raise EngineError(f"no scene engine runs: {self._served.reason()}")
        if isinstance(frames, wire.Streamed):
            names = self._served.streams()
            if frames.stream not in names:
                there = ", ".join(names) or "none"
                raise NotFound(f"no stream {frames.stream!r}. There are: {there}")


def planned(found: wire.Planned, energies: Sequence[float]) -> dict[str, object]:
    """A plan as plain numbers: tables flat, row by row."""
    body: dict[str, object] = {
        "action": list(found.action),
        "names": list(found.names),
        "mean": [value for row in found.mean for value in row],
        "std": [value for row in found.std for value in row],
        "horizon": len(found.mean),
        "energy": found.energy,
        "energy_start": found.energy_start,
        "energies": list(energies),
        "bounds": found.bounds,
        "model": found.digest,
        "device": found.device,
        "applied": False,
    }
    if (picture := found.landscape) is not None:
        body |= {
            "landscape": [value for row in picture.energies for value in row],
            "landscape_shape": [len(picture.energies), len(picture.energies[0])],
            "landscape_axes": list(picture.axes),
            "landscape_low": list(picture.low),
            "landscape_high": list(picture.high),
        }
    return body


def _words(state: wire.JobState) -> str:
    if state.state == "waiting":
        return "waits for its turn"
    lowest = f", energy {state.energies[-1]:.4g}" if state.energies else ""
    return f"iteration {state.done} of {state.total}{lowest}"
