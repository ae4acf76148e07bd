"""A scene engine's client that sees no engine: its answers say what it was asked."""

import asyncio

import numpy as np

from jepad.errors import EngineError, Late, NotFound, SettingError
from jepad.scene import wire
from jepad.scene.client import Answer

SLOW, LATE, BIG = 7, 8, 9  # first pixels that mean something


class Client:
    def __init__(self):
        self.works = {}
        self.cancelled = []

    async def describe(self, timeout=1.0):
        return wire.Described(
            1, "toy", "2-ac", "cd" * 32, "cpu", "fp32", 64, 8, 2, 8, 96,
            ("encoder", "predictor", "action"), 2, 2, 1 << 20, False,
        )  # fmt: skip

    def answer(self, frames, pool, **told):
        if isinstance(frames, wire.Streamed):
            values = np.array([[frames.n, frames.count]], np.float32)
        else:
            values = np.full((3, 2), frames.sum(dtype=np.float64), np.float32)
        values = values.mean(0) if pool == "mean" else values
        return Answer(values, (1, 1, 3), "cd" * 32, "cpu", False, **told)

    async def embed(self, frames, keep=None, pool="tokens", timeout=10.0, classes=0):
        first = 0 if isinstance(frames, wire.Streamed) else frames.flat[0]
        if first == SLOW:
            await asyncio.sleep(0.5)
        if first == LATE:
            raise Late(f"{timeout:g} s are over")
        if first == BIG:
            raise SettingError("too small")
        known = range(3, 3 + classes)
        return self.answer(
            frames, pool, classes=tuple(known), probabilities=tuple(1 / n for n in known)
        )

    async def predict_temporal(self, frames, ahead=1, pool="tokens", timeout=10.0):
        return self.answer(np.full((1, 1, 1, 3), ahead, np.uint8), pool)

    async def predict_action(self, frames, state, actions, timeout=10.0):
        values = np.broadcast_to(actions.sum(1)[:, None, None], (len(actions), 3, 2))
        states = (np.asarray(state) + np.cumsum(actions, 0)).astype(np.float32)
        return Answer(values.astype(np.float32), (1, 1, 3), "cd" * 32, "cpu", False, states)

    async def plan_start(self, quest, timeout=10.0):
        if quest.bounds == "nothing":
            raise NotFound("no bounds 'nothing'")
        work = f"0-{len(self.works)}"
        self.works[work] = (quest, 0)
        return work

    async def plan_status(self, job, timeout=1.0):
        quest, polls = self.works[job]
        self.works[job] = (quest, polls + 1)
        if polls == 1:
            raise EngineError("busy for a moment")
        if polls < 2 or quest.bounds == "long":
            return wire.JobState(1, job, "running", 1, 4, (0.5,))
        if quest.bounds == "lost":
            error = ("org.jepad1.Error.DeviceLost", "the GPU is gone")
            return wire.JobState(1, job, "failed", 1, 4, error=error)
        return wire.JobState(1, job, "done", 4, 4, (0.5, 0.25), self.planned(quest))

    def planned(self, quest):
        points = quest.search.landscape
        picture = wire.Landscape(
            tuple((0.5,) * points for _ in range(points)), ("dx", "dy"), (-1.0, -1.0), (1.0, 1.0)
        )
        return wire.Planned(
            (0.25, -0.25), ((0.25, -0.25),), ((0.1, 0.1),), ("dx", "dy"), 0.25, 1.0,
            quest.bounds, "cd" * 32, "cpu", picture if points else None,
        )  # fmt: skip

    async def cancel(self, job, timeout=1.0):
        self.cancelled.append(job)
        return wire.JobState(1, job, "cancelled", 1, 4)
