"""The newest stretch of a window without a gap: its columns by name, their growth and slope.

Owns: what "now", "lately" and "per second" mean for a risk. Nothing is averaged over a suspend
or a restart. Does not know: which series matter, or why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.records import GAP, Floats, Window

#: Beyond this a reading is damage: squares and products of what is let in stay finite.
_ABSURD = 1e15
_LATELY_S = 5.0


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through the newest seconds of one series, and how far to trust it."""

    now: float
    slope: float  # per second
    sd: float  # of the slope


class Past:
    """One machine's last minute, or less. Missing columns read as NaN or None, never as zero."""

    def __init__(self, window: Window) -> None:
        breaks = (window.flags & GAP) != 0
        breaks[1:] |= np.diff(window.t_ns) <= 0  # a clock that was set back
        at = int(np.flatnonzero(breaks)[-1]) if breaks.any() else 0
        t_ns = window.t_ns[at:]
        self.t_s: Floats = (t_ns - t_ns[-1]).astype(np.float64) / 1e9 if len(t_ns) else np.zeros(0)
        self.values = window.values[at:]
        self.place = {s.name: i for i, s in enumerate(window.series)}
        self._told: dict[tuple[str, str, float], float] = {}  # several signs ask for the same
        self._rows: dict[float, slice] = {}

    def __len__(self) -> int:
        """Rows."""
        return len(self.t_s)

    def column(self, name: str) -> Floats | None:
        """All rows, NaN where damaged; None when nothing was ever read."""
        i = self.place.get(name)
        if i is None:
            return None
        raw = self.values[:, i]
        good = np.abs(raw) < _ABSURD  # NaN is not
        if good.all():
            return raw
        return np.where(good, raw, np.nan) if good.any() else None

    def now(self, name: str) -> float:
        """The newest reading there is; NaN when there is none."""
        column = self.column(name)
        if column is None:
            return math.nan
        return float(column[-1]) if column[-1] == column[-1] else float(_last(column))

    def grown(self, name: str, span_s: float = _LATELY_S) -> float:
        """Growth per second of a counter over the last `span_s`; NaN when unknown or reset."""
        key = ("grown", name, span_s)
        if key not in self._told:
            self._told[key] = self._grown(name, span_s)
        return self._told[key]

    def slope(self, name: str, span_s: float) -> float:
        """Change per second of a level over the last `span_s`; NaN before five readings."""
        key = ("slope", name, span_s)
        if key not in self._told:
            self._told[key] = self._slope(name, span_s)
        return self._told[key]

    def _grown(self, name: str, span_s: float) -> float:
        column = self.column(name)
        if column is None:
            return math.nan
        rows = self.rows(span_s)
        part, t_s = column[rows], self.t_s[rows]
        if len(part) < 2 or t_s[-1] <= t_s[0] or not part[-1] >= part[0]:
            return math.nan
        return float((part[-1] - part[0]) / (t_s[-1] - t_s[0]))

    def _slope(self, name: str, span_s: float) -> float:
        column = self.column(name)
        if column is None:
            return math.nan
        rows = self.rows(span_s)
        t, x = _seen(self.t_s[rows], column[rows])
        return line(t, x)[0] if len(t) >= 5 else math.nan

    def trend(self, name: str) -> Trend | None:
        """Of the last 10 s, doubted where the whole window says otherwise."""
        column = self.column(name)
        return None if column is None else trend(self.t_s, column)

    def rows(self, span_s: float = _LATELY_S) -> slice:
        """Those of the last `span_s`, or the last two where they are farther apart."""
        if span_s not in self._rows:
            first = int(np.searchsorted(self.t_s, -span_s - 0.05))
            self._rows[span_s] = slice(max(min(first, len(self) - 2), 0), None)
        return self._rows[span_s]


def trend(t_s: Floats, values: Floats, span_s: float = 10.0) -> Trend | None:
    """Least squares over the last `span_s`; its sd also covers the disagreement with the
    whole window, so that a short burst is not extrapolated as if it were a leak."""
    t, x = _seen(t_s, values)
    if len(t) < 5:
        return None
    near = t >= t[-1] - max(span_s, 5 * float(np.median(np.diff(t))))
    if near.sum() < 5:
        return None
    slope, error = line(t[near], x[near])
    whole, _ = line(t, x)
    return Trend(float(x[-1]), slope, max(error, abs(slope - whole), 1e-9))


def line(t: Floats, x: Floats) -> tuple[float, float]:
    """Slope and its standard error."""
    tc, xc = t - t.mean(), x - x.mean()
    ss = float(tc @ tc)
    if ss == 0:
        return 0.0, math.inf
    slope = float(tc @ xc) / ss
    residual: NDArray[np.float64] = xc - slope * tc
    return slope, math.sqrt(float(residual @ residual) / max(len(t) - 2, 1) / ss)


def _seen(t_s: Floats, values: Floats) -> tuple[Floats, Floats]:
    seen = np.isfinite(values)
    return (t_s, values) if seen.all() else (t_s[seen], values[seen])


def _last(column: Floats) -> float:
    return float(column[np.flatnonzero(np.isfinite(column))[-1]])
