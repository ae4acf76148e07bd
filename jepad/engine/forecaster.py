"""From the newest samples to a forecast: the model and the baseline, at two paces.

Owns: order of the work in a tick, and which pace speaks for which horizon.
Does not know the ring's layout, sockets, or how the model runs.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from jepad.engine.batch import Batch
from jepad.engine.bounds import ceilings, floors, sane
from jepad.engine.keep import Keep
from jepad.engine.learned import Learned, keys
from jepad.engine.pace import Pace
from jepad.engine.recent import DECIMATION, Recent
from jepad.engine.scale import Scale, Word
from jepad.errors import JepadError
from jepad.heads.forecast import Output
from jepad.heads.prepare import CONTEXT, HORIZONS, SHORTEST
from jepad.heads.since import baselines
from jepad.records import Floats32, Forecast

log = logging.getLogger(__name__)

#: A tick later than this has been overtaken by others.
PATIENCE_NS = 5_000_000_000
#: Steps relived at the start, one a turn: requests are answered meanwhile.
RELIVED = 96
#: Rows of the past from which it is told what is usual: seconds of work on the slowest machines.
WATCHED = 384
#: The slow pace speaks where the fast one does not reach.
FAR = tuple(i for i, h in enumerate(HORIZONS) if h * DECIMATION > HORIZONS[-1])


@dataclass(frozen=True, slots=True)
class Made:
    """What a tick gave."""

    forecast: Forecast
    age: int  # steps since the model spoke
    embedding: Floats32 | None  # [1+H, D]; None when the model did not speak


class Forecaster:
    """One machine's; tick() whenever there may be news, follow() when its series change."""

    def __init__(
        self,
        recent: Recent,
        batch: Batch | None,
        digest: str,
        pace: Pace,
        learned: Learned | None = None,
    ) -> None:
        channels = len(recent.series)
        self.recent = recent
        self.pace = pace
        self.fast = Scale(channels, recent.step_s)
        self.slow = Scale(channels, recent.step_s * DECIMATION)
        near = [recent.step_s * h for h in HORIZONS]
        self.horizons_s = (*near, *(self.slow.dt_s * HORIZONS[i] for i in FAR))
        self._batch = batch
        self._digest = digest
        self._high = ceilings(recent.series, recent.every)
        self._score = math.nan
        self._new = 0  # rows that no step was made with yet
        self._since_slow = DECIMATION  # the slow pace's turn is the first tick
        self._slow_ready = False
        self._far: Word | None = None
        self._failed = ""
        self.learned = learned or Learned(digest)
        self.learned.begin(recent.step_s)
        self._unusual = self.learned.unusual(recent.series)
        self._remember(range(channels))
        # Who knows the parts' worth from an earlier life need not find it out again.
        self._past = 0 if self.fast.proven > 0.5 else RELIVED

    @property
    def behind(self) -> bool:
        """Another tick has work at once."""
        return self._new > 0

    def tick(self) -> Made | None:
        """None when nothing came, nothing of it is forecast, or the past is being relived."""
        began = time.thread_time_ns()
        came = self.recent.update()
        self._came(self.learned.fresh(self.recent.times[-came:]) if came else 0)
        if not self._new or not self.recent.series:
            return None
        if self._batch and self._past and self._new > 1:
            self._relive()
            return None
        fresh, self._new, self._past = self._new, 0, 0
        scales = self._step(fresh)
        asked = time.thread_time_ns()
        self._ask(scales)
        heard = time.thread_time_ns()
        self._watch(len(self.recent.rows), fresh)
        made = self._made()
        rest = asked - began + time.thread_time_ns() - heard
        self.pace.note(heard - asked if self.fast in scales else 0, rest)
        return made

    def follow(self, recent: Recent) -> bool:
        """Other series of the same machine: those that stay go on with all that was learned.
        False when it is another's telemetry, or another step's."""
        before = self.recent
        recent.update()
        if recent.step_s != before.step_s or 0 < recent.t_ns < before.t_ns:
            return False
        self.note()
        place = {s: i for i, s in enumerate(before.series)}
        places = np.array([place.get(s, -1) for s in recent.series], np.intp)
        fresh = recent.inherit(before, places)
        self.recent = recent
        self._high = ceilings(recent.series, recent.every)
        for scale in (self.fast, self.slow):
            scale.move(places)
        self._far = self._far.moved(places) if self._far else None
        self._unusual.move(places)
        self._remember(np.flatnonzero(places < 0).tolist())
        self._came(fresh)
        return True

    def note(self) -> None:
        """Let what was learned be known by the series' names."""
        self.learned.days.flush()
        self.learned.note(self.recent.series, (self.fast, self.slow), self._unusual)

    def save(self, keep: Keep) -> None:
        """Persist it, unless rows are waiting that are not in it."""
        if not self._new:
            self.note()
            self.learned.save(keep, self.recent.t_ns)

    def _remember(self, channels: Iterable[int]) -> None:
        self.learned.recall(self.recent.series, channels, (self.fast, self.slow))
        self.learned.days.place(keys(self.recent.series))

    def _came(self, fresh: int) -> None:
        """So many of the newest rows are news."""
        self._since_slow += fresh
        self._new = min(self._new + fresh, len(self.recent.rows))
        dated = min(fresh, self.recent.unbroken)
        if dated:
            # Before a gap the machine may have slept: the clocks do not say when that was.
            wall_s = self.learned.wall_s(self.recent.times[-dated:])
            self.learned.days.add(wall_s, self.recent.rows[-dated:])

    def _step(self, fresh: int) -> list[Scale]:
        """Move on; those whose turn it is to ask the model."""
        fast = self.recent.fast()
        self.fast.step(fast, self.recent.rows[-fresh:])
        # A turn is not spent before the model can speak of counters, whose first sample is no rate.
        scales = [self.fast] if fast.shape[1] > SHORTEST and self.pace.due() else []
        steps = self._since_slow // DECIMATION
        if steps:
            self._since_slow, self._far = 0, None
            slow = self.recent.slow()
            self._slow_ready = slow.shape[1] >= SHORTEST
            self.slow.step(slow, slow.T[-steps:])
            now_s = float(self.learned.wall_s(self.recent.times[-1:])[0])
            self.slow.days = self.learned.days.around(now_s, self.slow.dt_s)
            scales += [self.slow] if self._slow_ready else []
        return scales

    def _relive(self) -> None:
        """One step of the past, so that what each part is worth is known from the start."""
        rows = self.recent.rows
        self._past -= 1
        # The first time: all that is older than what will be relived.
        taken = max(1, self._new - self._past - 1)
        self._new -= taken
        end = len(rows) - self._new
        self.fast.step(rows[max(0, end - CONTEXT) : end].T, rows[end - taken : end])
        self._ask([self.fast])
        self._watch(end, taken)
        self.fast.word()

    def _watch(self, end: int, fresh: int) -> None:
        """How unusual are the rows up to `end`, so many of them fresh?"""
        first, times = end - min(fresh, WATCHED), self.recent.times
        apart = np.diff(times[first:end], prepend=times[max(first - 1, 0)])
        steps = np.rint(apart / (self.recent.step_s * 1e9)).astype(int).clip(1).tolist()
        said = None if self.fast.age else self.fast.output
        self._score = self._unusual.observe(self.recent.rows[first:end], steps, said)

    def _ask(self, scales: list[Scale]) -> None:
        """The tick's windows join what is waiting, and all of it runs now."""
        if self._batch is None:
            return
        while self._batch.wait_ns() == 0:
            self._batch.run()
        deadline = time.monotonic_ns() + PATIENCE_NS
        for scale in scales:
            self._batch.add(scale.job(deadline, partial(self._hear, scale)))
        while scales and self._batch.wait_ns() is not None:
            self._batch.run()

    def _hear(self, scale: Scale, result: Output | JepadError) -> None:
        if isinstance(result, Output):
            scale.hear(result)
        elif str(result) != self._failed:
            self._failed = str(result)
            log.error("the baseline speaks alone: %s", result)

    def _made(self) -> Made:
        near = self.fast.word()
        far = self._far_word()
        low = floors(self.recent.series, self.fast.context)
        quantiles = np.concatenate([near.quantiles, far.quantiles], axis=1)
        weight = np.concatenate([near.weight, far.weight], axis=1, dtype=np.float32)
        # Who is no longer heard of is not told of either, though the slow pace remembers it.
        silent = np.isnan(near.quantiles).any((1, 2))
        quantiles[silent], weight[silent] = np.nan, 0
        forecast = Forecast(
            source_n=self.recent.last_n,
            t_ns=self.recent.t_ns,
            series=self.recent.series,
            horizons_s=self.horizons_s,
            quantiles=sane(quantiles, low, self._high).astype(np.float32),
            p_rise=np.concatenate([near.p_rise, far.p_rise], axis=1, dtype=np.float32),
            weight=weight,
            surprise=self._score,
            model_digest=self._digest,
            causes=tuple(self.recent.series[c].name for c in self._unusual.causes()),
        )
        age = self.fast.age if self.fast.output else 0
        return Made(forecast, age, self._embedding())

    def _far_word(self) -> Word:
        """Of the slow pace; the fast one's baseline for channels that it has seen too little of."""
        channels = len(self.recent.series)
        far = list(FAR)
        if not self._slow_ready:
            none = np.zeros((channels, len(far)))
            said = Word(np.full((*none.shape, 3), np.nan), none, none.astype(np.float32))
        elif self._far is None:
            word = self.slow.word()
            said = Word(word.quantiles[:, far], word.p_rise[:, far], word.weight[:, far])
            self._far = said
        else:
            said = self._far
        mute = np.isnan(said.quantiles).any((1, 2))
        if not mute.any():
            return said
        horizons = tuple(HORIZONS[i] * DECIMATION for i in FAR)
        quantiles, p_rise = said.quantiles.copy(), said.p_rise.copy()
        quantiles[mute], p_rise[mute] = baselines(self.fast.context[mute], self.fast.dt_s, horizons)
        return Word(quantiles, p_rise, said.weight)

    def _embedding(self) -> Floats32 | None:
        output = self.fast.output
        if output is None or self.fast.age:
            return None
        return np.concatenate([output.z, output.z_hat[0]]).astype(np.float32)
