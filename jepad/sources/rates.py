"""Counters made rates.

Owns: what a difference of two readings means: resets, turns and gaps. Does not know: the ring,
or what the channels are about.

A counter that fell was reset, and its rate is unknown (NaN) for that step. One exception: the
kernel keeps some counters in 32 bits (the milliseconds of diskstats; everything on 32-bit
machines), and a fall from just below 2**32 to just above 0 is such a counter going on. Counters
with other ranges (RAPL) are unrolled by their source, which alone knows the range.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepad.records import GAP, Floats, Series, Window

_TURN = 2.0**32
_NEAR = 2.0**28


def rate_series(series: Sequence[Series]) -> tuple[Series, ...]:
    """The series as they are after rates(): counters become gauges per second."""
    return tuple(
        Series(s.name, f"{s.unit or '1'}/s", "gauge") if s.semantics == "counter" else s
        for s in series
    )


def rates(window: Window) -> tuple[tuple[Series, ...], NDArray[np.int64], Floats]:
    """All rows of a window; a counter's first row, and rows after a gap, are NaN."""
    values = window.values.copy()
    counters = _counters(window.series)
    if len(values):
        values[0, counters] = np.nan
        dt_s = np.diff(window.t_ns)[:, None] * 1e-9
        unseen = (window.flags[1:, None] & GAP) != 0
        raw = window.values[:, counters]
        values[1:, counters] = _per_second(raw[:-1], raw[1:], np.where(unseen, np.nan, dt_s))
    return rate_series(window.series), window.t_ns, values


def _counters(series: Sequence[Series]) -> NDArray[np.intp]:
    return np.flatnonzero([s.semantics == "counter" for s in series])


def _per_second(old: Floats, new: Floats, dt_s: Floats) -> Floats:
    grown = new - old
    turned = (grown < 0) & (old < _TURN) & (old >= _TURN - _NEAR) & (new < _NEAR)
    grown = np.where(turned, grown + _TURN, grown)
    known = (grown >= 0) & (dt_s > 0)
    out: Floats = np.full(grown.shape, np.nan)
    np.divide(grown, dt_s, out=out, where=known)
    return out
