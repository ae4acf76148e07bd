"""Where memory stalls begin and end in a recording, and which of its time counts as calm.

Owns: the definition of a stall, its onset, the cool-down; which files can be judged at all.
Does not know: rules, signs, weights.

A second is stalled when PSI memory `some` grew by more than 5 % of it. Stalled seconds in a row
are one stall; its onset is the time of the sample that shows the first of them, so a rule that
looks at PSI alone can be no earlier than that. Time is calm (benign) when no onset follows
within `WARN_S` and no stall ended within `COOL_S`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.errors import JepadError, SettingError
from jepad.learn.gym.episodes import read_manifest, trace_path
from jepad.records import GAP, Floats, Window
from jepad.sources.replay import read_traces
from jepad.sources.traces import Trace

PSI = "psi.memory.some.total"
NEEDED = (PSI, "mem.MemFree")
STALLED = 0.05  # of a second
WARN_S = 60.0  # a warning may come so long before an onset
COOL_S = 60.0  # after a stall no time is calm
STORM_S = 60.0  # an onset sooner after a stall belongs to the same storm
_LOOK_BACK = 64  # seconds, as the daemon's history
_SLOWEST_S = 5.0  # between samples; a warning of seconds needs no less


@dataclass(frozen=True, slots=True)
class Recording:
    """A trace with its stalls; times in seconds of the trace."""

    name: str
    group: str  # what is judged together: a file, or a gym's floor
    trace: Trace
    onsets: Floats  # [E]
    ends: Floats  # [E]

    def hours(self) -> float:
        """Of calm time."""
        t_s = self.trace.t_s
        step = np.minimum(np.diff(t_s, prepend=t_s[:1]), 2.5 * self.trace.dt_s)
        return float(step[self.calm(t_s)].sum()) / 3600.0

    def calm(self, t_s: Floats) -> NDArray[np.bool_]:
        """Which of these moments are benign."""
        out = np.ones(len(t_s), bool)
        for onset, end in zip(self.onsets, self.ends, strict=True):
            out &= (t_s < onset - WARN_S) | (t_s > end + COOL_S)
        return out

    def until(self, t_s: Floats) -> Floats:
        """Seconds to the next onset; inf when none comes."""
        at = np.searchsorted(self.onsets, t_s, side="right")
        out: Floats = np.append(self.onsets, np.inf)[at] - t_s
        return out

    def first(self) -> NDArray[np.bool_]:
        """Which onsets begin a storm."""
        out: NDArray[np.bool_] = np.ones(len(self.onsets), bool)
        out[1:] = self.onsets[1:] - self.ends[:-1] > STORM_S
        return out


def column(trace: Trace, name: str) -> Floats | None:
    """A series of a trace; None where it has none."""
    for i, series in enumerate(trace.series):
        if series.name == name:
            values: Floats = trace.values[:, i]
            return values
    return None


def mark(trace: Trace, name: str, group: str = "") -> Recording:
    """Find the stalls of a trace that has the needed series."""
    rows, share = stalled_share(trace)
    hot = np.flatnonzero(share > STALLED)
    new = np.flatnonzero(np.diff(hot, prepend=-2) > 1)
    first, last = hot[new], hot[np.append(new[1:], len(hot)) - 1] if len(hot) else hot
    t_s = trace.t_s[rows]
    return Recording(name, group or name, trace, t_s[first], t_s[last])


def stalled_share(trace: Trace) -> tuple[NDArray[np.intp], Floats]:
    """Rows a second apart, and the share of the time between them that was stalled."""
    t_s, psi = trace.t_s, column(trace, PSI)
    assert psi is not None
    at = seconds(trace)
    grown = np.diff(psi[at], prepend=psi[0]) / 1e6
    share = np.where(grown >= 0, grown, 0.0) / np.diff(t_s[at], prepend=t_s[0] - 1.0)
    return at, share


def seconds(trace: Trace) -> NDArray[np.intp]:
    """Rows about a second apart, or all where they are farther apart."""
    rows = [0]
    for i in range(1, len(trace.t_s)):
        if trace.t_s[i] - trace.t_s[rows[-1]] >= 1.0 - trace.dt_s / 2:
            rows.append(i)
    return np.array(rows)


def recordings(directories: Sequence[str], split: str = "") -> tuple[list[Recording], list[str]]:
    """All that can be judged, and what was left out and why. Of a gym only episodes without
    actions, of `split` where one is named."""
    found: list[Recording] = []
    skipped: list[str] = []
    for directory in directories:
        for path, group in _files(directory, split):
            try:
                for trace in read_traces(path):
                    name = _named(path, trace)
                    unfit = _unfit(trace)
                    if unfit:
                        skipped.append(f"{name}: {unfit}")
                        break  # traces of one file are alike
                    found.append(mark(trace, name, group or name))
            except JepadError as error:
                skipped.append(str(error))
    return found, skipped


def _named(path: str, trace: Trace) -> str:
    file = os.path.basename(path).split(".")[0]
    return file if trace.name in (file, "x") else f"{file}/{trace.name}"


def _unfit(trace: Trace) -> str:
    """Why a trace can't be judged; "" when it can."""
    lacking = [name for name in NEEDED if not _read(trace, name)]
    if lacking:
        return f"has no {' nor '.join(lacking)}"
    if trace.dt_s > _SLOWEST_S:
        return f"sampled every {trace.dt_s:.0f} s"
    return ""


def _read(trace: Trace, name: str) -> bool:
    values = column(trace, name)
    return values is not None and bool(np.isfinite(values).any())


def _files(directory: str, split: str) -> Iterator[tuple[str, str]]:
    """(path, group) of the traces below; those of a gym that somebody acted on are left out."""
    if os.path.exists(os.path.join(directory, "MANIFEST.json")):
        for episode in read_manifest(directory):
            if not episode.actions and split in ("", episode.split):
                yield trace_path(directory, episode), f"gym {episode.floor}"
        return
    if not os.path.isdir(directory):
        raise SettingError(f"{directory}: no such directory")
    for name in sorted(os.listdir(directory)):
        if name.endswith((".npz", ".csv", ".csv.gz")):
            yield os.path.join(directory, name), ""


class Windows:
    """The windows a daemon would have seen at each row of a trace."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._t_ns = np.round((trace.t_s - trace.t_s[0]) * 1e9).astype(np.int64)
        self._flags = np.zeros(len(self._t_ns), np.uint32)
        self._flags[0] = GAP
        self._flags[1:] = np.where(np.diff(trace.t_s) > 2.5 * trace.dt_s, GAP, 0)
        self._rows = _LOOK_BACK * max(1, round(1 / trace.dt_s))

    def at(self, row: int) -> Window:
        """The one that ends with this row."""
        part = slice(max(0, row + 1 - self._rows), row + 1)
        cut = self._t_ns[part], self._trace.values[part], self._flags[part]
        return Window(self._trace.series, *cut, row)
