"""Micro-batching: requests and the tick share one run of the model.

Owns: the queue, its limits, the rule that an answer comes in time or is an error.
Does not know sockets, the ring, or what is done with an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jepad.engine.backend import Backend
from jepad.errors import EngineError, JepadError
from jepad.heads.action import Action, condition, units
from jepad.heads.forecast import Output, finish
from jepad.heads.history import History, joined
from jepad.heads.prepare import CONTEXT, Prepared, prepare
from jepad.records import Floats

#: More together take longer each: what they need no longer fits the cache.
MAX_HOSTS = 8
MAX_WAIT_NS = 10_000_000
#: Beyond this the queue could not be answered in time anyway.
MAX_QUEUE = 16 * MAX_HOSTS


@dataclass(frozen=True, slots=True)
class Job:
    """One host's window, and where its answer goes."""

    values: Floats  # [C, T], oldest first, NaN = missing
    dt_s: float
    deadline_ns: int  # CLOCK_MONOTONIC
    done: Callable[[Output | JepadError], None]
    history: History | None = None  # of these C channels
    action: Action | None = None  # what is done to the host at the end of the window
    series: tuple[str, ...] = ()  # the C names; wanted only with an action


class Batch:
    """Jobs gather for a moment, then run together; `done` is called once for each."""

    def __init__(self, backend: Backend, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._backend = backend
        self._clock_ns = clock_ns
        self._queue: list[Job] = []
        self._first_ns = 0
        self.late = self.runs = self.jobs = 0

    @property
    def digest(self) -> str:
        """Of the model."""
        return self._backend.digest

    @property
    def actions(self) -> Sequence[str]:
        """Kinds the model can be asked about."""
        return self._backend.actions

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
        """Answer the oldest jobs, at most 8 hosts."""
        now, self._queue = self._queue[:MAX_HOSTS], self._queue[MAX_HOSTS:]
        groups: dict[tuple[int, bool, bool], list[Job]] = {}
        for job in now:
            if not self._refused_late(job):
                kind = (len(job.values), job.history is None, job.action is None)
                groups.setdefault(kind, []).append(job)
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
        prepared = prepare(values, dt_s, joined([j.history for j in group if j.history]))
        unit = _act(prepared, group, values)
        output = finish(prepared, self._backend.infer(prepared.feeds))
        if unit is None or output.effect is None:
            return output
        # The graph says effects in units of their own, `finish` took them for the forecast's.
        return replace(output, effect=output.effect * (unit / prepared.scale)[..., None])

    def _refused_late(self, job: Job) -> bool:
        if self._clock_ns() <= job.deadline_ns:
            return False
        self.late += 1
        job.done(EngineError("the engine was too busy to answer by the deadline"))
        return True


def _act(prepared: Prepared, group: list[Job], values: Floats) -> Floats | None:
    """Put the jobs' actions into the feeds; the units of their effects, [B, C, H]."""
    unit = None
    for i, job in enumerate(group):
        if job.action is None:
            continue
        one = _part(prepared, i)
        for name, feed in condition(one, job.series, values[i : i + 1], job.action).items():
            prepared.feeds[name][i] = feed[0]
        unit = prepared.scale.astype(np.float64) if unit is None else unit
        unit[i] = units(one, job.series)[0]
    return unit


def _part(prepared: Prepared, i: int) -> Prepared:
    """One host of a batch, as a batch of one."""
    one = slice(i, i + 1)
    return Prepared(
        feeds={name: feed[one] for name, feed in prepared.feeds.items()},
        last=prepared.last[one],
        scale=prepared.scale[one],
        q97=prepared.q97[one],
        usable=prepared.usable[one],
    )


def _context(values: Floats) -> NDArray[np.float64]:
    """[C, 128], left-padded with NaN."""
    out = np.full((len(values), CONTEXT), np.nan)
    newest = values[:, -CONTEXT:]
    out[:, CONTEXT - newest.shape[1] :] = newest
    return out


def _one(output: Output, i: int) -> Output:
    one = slice(i, i + 1)
    return Output(
        quantiles=output.quantiles[one],
        p_rise=output.p_rise[one],
        z=output.z[one],
        z_hat=output.z_hat[one],
        usable=output.usable[one],
        effect=None if output.effect is None else output.effect[one],
    )
