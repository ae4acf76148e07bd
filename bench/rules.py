"""What warns of memory stalls elsewhere, replayed on recordings: a score a second, and its limit.

Owns: each rule as its own manual or source states it. A higher score is worse; the rule's real
setting is the limit its alarm is on at. Does not know: stalls, jepad, how rules are compared.

earlyoom 1.8 (earlyoom(1)): MemAvailable <= 10 % of MemAvailable + AnonPages, and free swap <= 10 %
of all swap; a machine without swap has none free. Here with the default -m 10 -s 10.
systemd-oomd 257 (oomd.conf(5)): PSI memory `full` avg10 above 60 % for 30 s, or memory and swap
both used above 90 %. It judges control groups; here the whole machine is the one group.
PSI threshold: the trigger the kernel's own manual sets (Documentation/accounting/psi.rst):
150 ms stalled within a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.heads.stall_past import line
from jepad.heads.stall_signs import FLOOR_SHARE
from jepad.learn.stall_onsets import PSI, column
from jepad.records import Floats
from jepad.sources.traces import Trace

Rows = NDArray[np.intp]
_NEVER = -1e9


@dataclass(frozen=True, slots=True)
class Rule:
    """One warner."""

    name: str
    score: Callable[[Trace, Rows], Floats]
    limit: float
    setting: str


def _level(trace: Trace, rows: Rows, name: str) -> Floats:
    values = column(trace, name)
    return np.full(len(rows), np.nan) if values is None else values[rows]


def _total(trace: Trace, rows: Rows) -> Floats:
    """Memory of the machine; where it was not recorded, the most that was ever available."""
    total = _level(trace, rows, "mem.MemTotal")
    if np.isfinite(total).any():
        return total
    available = _level(trace, rows, "mem.MemAvailable")
    known = available if np.isfinite(available).any() else _level(trace, rows, "mem.MemFree")
    return np.full(len(rows), np.nanmax(known))


def _time_left(series: str, span_s: float) -> Callable[[Trace, Rows], Floats]:
    """Minus the seconds until the level is at 2 % of all memory, by its line over `span_s`."""

    def score(trace: Trace, rows: Rows) -> Floats:
        values, total = column(trace, series), _total(trace, rows)
        out = np.full(len(rows), _NEVER)
        if values is None:
            return out
        for n, row in enumerate(rows):
            first = int(np.searchsorted(trace.t_s, trace.t_s[row] - span_s - 0.05))
            if row - first < 4:
                continue
            slope, _ = line(trace.t_s[first : row + 1], values[first : row + 1])
            if slope < 0:
                out[n] = max(values[row] - FLOOR_SHARE * total[n], 0.0) / slope
        return out

    return score


def _free_low(trace: Trace, rows: Rows) -> Floats:
    return -_level(trace, rows, "mem.MemFree") / _total(trace, rows)


def _stalled(trace: Trace, rows: Rows) -> Floats:
    return _share(trace, rows, PSI, 1.0)


def _share(trace: Trace, rows: Rows, name: str, span_s: float) -> Floats:
    """Share of the last `span_s` stalled; 0 where it can't be known."""
    total = column(trace, name)
    if total is None:
        return np.zeros(len(rows))
    t_s = trace.t_s[rows]
    first = np.maximum(np.searchsorted(trace.t_s, t_s - span_s + 1e-6) - 1, 0)
    spent = np.maximum(t_s - trace.t_s[first], 1e-9)
    return np.nan_to_num(np.maximum(total[rows] - total[first], 0.0) / 1e6 / spent)


def _swap_free(trace: Trace, rows: Rows) -> Floats:
    """Free swap as a share of the most that was free so far; 0 on a machine without."""
    free = np.nan_to_num(_level(trace, rows, "mem.SwapFree"))
    most = np.maximum.accumulate(free)
    return np.divide(free, most, out=np.zeros(len(rows)), where=most > 0)


def _earlyoom(trace: Trace, rows: Rows) -> Floats:
    available = _level(trace, rows, "mem.MemAvailable")
    share = available / (available + np.nan_to_num(_level(trace, rows, "mem.AnonPages")))
    return -np.maximum(np.nan_to_num(share, nan=1.0), _swap_free(trace, rows))


def _oomd(trace: Trace, rows: Rows) -> Floats:
    """The least `full` pressure of the last 30 s; 1 where memory and swap are used up."""
    full = _share(trace, rows, "psi.memory.full.total", 10.0)
    t_s = trace.t_s[rows]
    first = np.searchsorted(t_s, t_s - 30.0)
    lasting = np.array([full[a : b + 1].min() for b, a in enumerate(first)])
    used = 1 - _level(trace, rows, "mem.MemAvailable") / _total(trace, rows)
    swap_used = 1 - _swap_free(trace, rows)
    has_swap = np.nan_to_num(_level(trace, rows, "mem.SwapFree")).max() > 0
    gone = (used > 0.9) & (swap_used > 0.9) & has_swap
    return np.where(gone, 1.0, np.where(t_s - t_s[0] >= 30.0, lasting, 0.0))


RULES = (
    Rule("MemFree time to watermark", _time_left("mem.MemFree", 10.0), -30.0, "30 s, 10 s slope"),
    Rule("MemFree low", _free_low, -FLOOR_SHARE, "2 % of memory"),
    Rule("PSI threshold", _stalled, 0.15, "150 ms in 1 s"),
    Rule("MemAvailable rate", _time_left("mem.MemAvailable", 60.0), -60.0, "60 s, 60 s slope"),
    Rule("earlyoom", _earlyoom, -0.10, "-m 10 -s 10"),
    Rule("systemd-oomd", _oomd, 0.60, "60 % for 30 s, 90 % used"),
)
