"""All sources at one moment.

Owns: the order of the series, the clock of a sample, and how each source did.
Does not know: what the series mean or where the sample goes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jepad.errors import SourceError
from jepad.records import GAP, Sample, Series, SourceState
from jepad.sources.slow import Slow
from jepad.sources.source import PartlyRead, Source

#: BOOTTIME runs while the machine sleeps, MONOTONIC doesn't: apart by so much more, it slept.
_SLEPT_NS = 100_000_000
#: So many intervals without a sample are time unseen.
_MISSED = 2.5


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two clocks whose difference is the time spent suspended."""

    monotonic: Callable[[], int] = time.monotonic_ns
    boottime: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Snapshot:
    """Reads every source once a tick; one that fails costs only its own values."""

    def __init__(
        self,
        sources: Sequence[Source],
        interval_s: float = math.inf,
        clocks: Clocks | None = None,
    ) -> None:
        """Ask each source what it has; `interval_s` lets take() notice missed ticks."""
        self._sources = list(sources)
        self._clocks = clocks or Clocks()
        self._missed_ns = _MISSED * interval_s * 1e9
        self._names: list[list[str]] = []
        self._declared: list[tuple[Series, ...]] = []
        self._last_t_ns: int | None = None
        self._asleep_ns = 0
        self.series: tuple[Series, ...] = ()
        self.states: list[SourceState] = [
            SourceState(source.name, "absent", 0, 0.0, 0, 0) for source in self._sources
        ]
        self.redescribe()

    def redescribe(self) -> bool:
        """Ask again what there is; True when the series changed.

        Those that stay go on without a gap: it is the same counter before and after."""
        self._declared = [self._describe(i) for i in range(len(self._sources))]
        seen: set[str] = set()
        kept: list[Series] = []
        self._names = []
        for declared in self._declared:
            # Two sources may meet on a name a device gave itself: the first one keeps it.
            fresh = [s for s in {s.name: s for s in declared}.values() if s.name not in seen]
            seen.update(s.name for s in fresh)
            kept += fresh
            self._names.append([s.name for s in fresh])
        changed = tuple(kept) != self.series
        if changed:
            self.series = tuple(kept)
        return changed

    def _describe(self, i: int) -> tuple[Series, ...]:
        try:
            declared = self._sources[i].describe()
        except SourceError as error:
            self.states[i] = replace(
                self.states[i],
                state="failed",
                failures=self.states[i].failures + 1,
                reason=str(error),
            )
            return self._declared[i] if i < len(self._declared) else ()
        state = self.states[i]
        if not declared:
            self.states[i] = replace(state, state="absent", series=0, reason="")
        elif state.state == "absent":
            self.states[i] = replace(state, state="ok", series=len(declared))
        else:
            self.states[i] = replace(state, series=len(declared))
        return declared

    def take(self) -> Sample:
        """One sample of all series; NaN where a source gave nothing or nothing finite."""
        t_ns = self._clocks.monotonic()
        flags = GAP if self._unseen(t_ns) else 0
        row: list[float] = []
        for i, names in enumerate(self._names):
            got = self._read(i) if names else {}
            row += [got.get(name, math.nan) for name in names]
        values = np.array(row, dtype=np.float64)
        values[~np.isfinite(values)] = math.nan
        return Sample(t_ns, values, flags)

    def close(self) -> None:
        """Let the threads of the slow sources end."""
        for source in self._sources:
            if isinstance(source, Slow):
                source.close()

    def _unseen(self, t_ns: int) -> bool:
        asleep_ns = self._clocks.boottime() - t_ns
        last, self._last_t_ns = self._last_t_ns, t_ns
        slept, self._asleep_ns = asleep_ns - self._asleep_ns > _SLEPT_NS, asleep_ns
        return last is None or slept or t_ns - last > self._missed_ns

    def _read(self, i: int) -> dict[str, float]:
        began = time.perf_counter_ns()
        reason = ""
        values: dict[str, float] = {}
        try:
            values = self._sources[i].read()
        except PartlyRead as error:
            values, reason = error.values, str(error)
        except SourceError as error:
            reason = str(error)
        was = self.states[i]
        self.states[i] = SourceState(
            was.name,
            "failed" if reason else "ok",
            was.series,
            (time.perf_counter_ns() - began) * 1e-9,
            was.samples + 1,
            was.failures + bool(reason),
            reason,
        )
        return values
