"""Micro-batching: requests and the tick share one run of the model.

Owns: the queue, its limits, the rule that an answer comes in time or is an error.
Does not know sockets, the ring, or what is done with an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.engine.backend import Backend
from jepad.errors import EngineError, JepadError
from jepad.heads.forecast import Output, finish
from jepad.heads.history import History
from jepad.heads.prepare import CONTEXT, prepare
from jepad.records import Floats

MAX_HOSTS = 32
MAX_WAIT_NS = 10_000_000
#: Beyond this the queue could not be answered in time anyway.
MAX_QUEUE = 4 * MAX_HOSTS


@dataclass(frozen=True, slots=True)
class Job:
    """One host's window, and where its answer goes."""

    values: Floats  # [C, T], oldest first, NaN = missing
    dt_s: float
    deadline_ns: int  # CLOCK_MONOTONIC
    done: Callable[[Output | JepadError], None]
    history: History | None = None  # of these C channels


class Batch:
    """Jobs gather for a moment, then run together; `done` is called once for each."""

    def __init__(self, backend: Backend, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._backend = backend
        self._clock_ns = clock_ns
        self._queue: list[Job] = []
        self._first_ns = 0
        self.late = self.runs = self.jobs = 0

    def add(self, job: Job) -> None:
        """EngineError when there is too much to do."""
        if len(self._queue) >= MAX_QUEUE:
            raise EngineError(f"{MAX_QUEUE} requests are waiting already: try again later")
        if not self._queue:
            self._first_ns = self._clock_ns()
        self._queue.append(job)

    def wait_ns(self) -> int | None:
        """How long the next run may still wait for company; None = nothing to do."""
        if not self._queue:
            return None
        if len(self._queue) >= MAX_HOSTS:
            return 0
        return max(0, self._first_ns + MAX_WAIT_NS - self._clock_ns())

    def run(self) -> None:
        """Answer the oldest jobs, at most 32 hosts."""
        now, self._queue = self._queue[:MAX_HOSTS], self._queue[MAX_HOSTS:]
        groups: dict[tuple[int, bool], list[Job]] = {}
        for job in now:
            if not self._refused_late(job):
                groups.setdefault((len(job.values), job.history is None), []).append(job)
        for group in groups.values():
            self._answer(group)

    def _answer(self, group: list[Job]) -> None:
        """Jobs of one number of channels: padding would speak to the others through attention."""
        try:
            output = self._infer(group)
        except JepadError as error:
            for job in group:
                job.done(error)
            return
        self.runs += 1
        self.jobs += len(group)
        for i, job in enumerate(group):
            if not self._refused_late(job):
                job.done(_one(output, i))

    def _infer(self, group: list[Job]) -> Output:
        values = np.stack([_context(job.values) for job in group])
        dt_s = np.array([job.dt_s for job in group])
        prepared = prepare(values, dt_s, _joined([j.history for j in group if j.history]))
        outputs = self._backend.infer(prepared.feeds)
        return finish(prepared, outputs)

    def _refused_late(self, job: Job) -> bool:
        if self._clock_ns() <= job.deadline_ns:
            return False
        self.late += 1
        job.done(EngineError("the engine was too busy to answer by the deadline"))
        return True


def _context(values: Floats) -> NDArray[np.float64]:
    """[C, 128], left-padded with NaN."""
    out = np.full((len(values), CONTEXT), np.nan)
    newest = values[:, -CONTEXT:]
    out[:, CONTEXT - newest.shape[1] :] = newest
    return out


def _joined(histories: Sequence[History]) -> History | None:
    if not histories:
        return None
    return History(
        *(np.concatenate([getattr(h, k) for h in histories]) for k in ("mean", "sd", "q97"))
    )


def _one(output: Output, i: int) -> Output:
    one = slice(i, i + 1)
    return Output(
        quantiles=output.quantiles[one],
        p_rise=output.p_rise[one],
        z=output.z[one],
        z_hat=output.z_hat[one],
        usable=output.usable[one],
    )
