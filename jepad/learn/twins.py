"""From a gym's episodes and their twins to what each action changed.

Owns: which actions a twin is a measure of, the common clock, what was seen before and came after.
Does not know: the network, what is learned from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from jepad.errors import SettingError
from jepad.heads.action import Action, condition, units
from jepad.heads.guesses import FIELDS, KINDS
from jepad.heads.prepare import CONTEXT, HORIZONS, SHORTEST, Prepared, prepare
from jepad.learn.gym.episodes import Applied, Episode, trace_path
from jepad.records import Floats, Series, Window
from jepad.sources.rates import rates
from jepad.sources.replay import read_trace
from jepad.sources.traces import Trace

#: What a machine is looked at through where actions are asked about.
PATTERNS = (
    *(f"cgroup.*.{field}" for field in FIELDS),
    *("cpu.busy", "cpu.user", "cpu.system", "cpu.idle", "cpu.iowait", "psi.*.total"),
    *("mem.MemFree", "mem.MemAvailable", "mem.Cached", "mem.Buffers", "mem.Shmem", "mem.Mapped"),
    *("mem.AnonPages", "mem.Dirty", "mem.SwapFree", "vm.pgscan_*", "vm.workingset_refault_*"),
    *("vm.pgmajfault", "vm.pgpgin", "vm.pgpgout", "vm.pswp*", "disk.*.rds", "disk.*.wrs"),
    *("disk.*.iot", "ctxt", "load1", "procs_running"),
)
#: Samples after an action that are kept: two forecasts in a row.
REACH = 2 * HORIZONS[-1]
#: Samples before an action that tell how far twins are apart already.
_BEFORE = 4


@dataclass(frozen=True, slots=True)
class Event:
    """One action on a real machine, and the same moment without it."""

    episode: Episode
    action: Action
    names: tuple[str, ...]  # C
    dt_s: float
    acted: Floats  # [C, CONTEXT + REACH]: rates; the newest known at CONTEXT - 1; NaN = unknown
    idle: Floats  # [C, CONTEXT + REACH]: of the twin, gauges at the level they acted from

    @property
    def context(self) -> Floats:
        """What was seen before the action: [1, C, CONTEXT]."""
        return self.acted[None, :, :CONTEXT]

    @property
    def effect(self) -> Floats:
        """With the action less without it at the horizons, in the series' own units: [C, H]."""
        at = [CONTEXT - 1 + h for h in HORIZONS]
        return self.acted[:, at] - self.idle[:, at]

    def prepared(self) -> tuple[Prepared, Floats]:
        """The graph's inputs, the action among them; and the units of effects [C, H]."""
        now = prepare(self.context, np.array([self.dt_s]))
        feeds = now.feeds | condition(now, self.names, self.context, self.action)
        return replace(now, feeds=feeds), units(now, self.names)[0]


def events(
    directory: str, episodes: Iterable[Episode], paces: Sequence[float] = (1.0,)
) -> Iterator[Event]:
    """Every action that a twin is a measure of, at each pace (seconds a step) the file allows."""
    episodes = list(episodes)
    by_id = {e.id: e for e in episodes}
    for episode in episodes:
        twin = by_id.get(episode.twin or "")
        chosen = measured(episode, twin) if twin else []
        if twin is None or not chosen:
            continue
        pair = _read(directory, episode), _read(directory, twin)
        for applied, until in chosen:
            for pace in paces:
                event = _event(episode, pair, (applied, until), pace)
                if event is not None:
                    yield event


def measured(episode: Episode, twin: Episode) -> list[tuple[Applied, float]]:
    """Actions the twin has not, taken while no other is in force; and until when each is alone."""
    own = sorted((a for a in episode.actions if a not in twin.actions), key=lambda a: a.t)
    out: list[tuple[Applied, float]] = []
    in_force: set[str] = set()
    for i, applied in enumerate(own):
        if applied.undo:
            in_force.discard(applied.unit)
        elif applied.kind in KINDS and not in_force:
            out.append((applied, own[i + 1].t if i + 1 < len(own) else np.inf))
        if not applied.undo and applied.kind != "drop_caches":
            in_force.add(applied.unit)
    return out


def _read(directory: str, episode: Episode) -> Trace:
    trace = read_trace(trace_path(directory, episode))
    keep = [i for i, s in enumerate(trace.series) if _looked_at(s.name)]
    if not keep or len(trace.t_s) < SHORTEST:
        raise SettingError(f"{trace_path(directory, episode)}: too little in it for an episode")
    return replace(trace, series=tuple(trace.series[i] for i in keep), values=trace.values[:, keep])


def _looked_at(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in PATTERNS)


def _event(
    episode: Episode, pair: tuple[Trace, Trace], when: tuple[Applied, float], pace: float
) -> Event | None:
    acted, idle = pair
    applied, until = when
    step = round(pace / acted.dt_s)
    now = int(np.searchsorted(acted.t_s, applied.t, side="right")) - 1
    if step < 1 or abs(step * acted.dt_s / pace - 1) > 0.2 or now < step * SHORTEST:
        return None
    at = now + step * np.arange(-CONTEXT, REACH + 1)  # one more, for the first rate
    inside = (at >= 0) & (at < len(acted.t_s))
    t_s = acted.t_s[at[inside]]
    rows = np.full((2, len(at), len(acted.series)), np.nan)
    rows[0, inside] = _rates(acted.series, t_s, acted.values[at[inside]])
    rows[1, inside] = _paired(acted.series, t_s, idle, step * acted.dt_s)
    _level(acted.series, rows)
    rows[:, inside] = np.where((t_s >= until)[None, :, None], np.nan, rows[:, inside])
    rows = rows[:, 1:]
    seen = np.isfinite(rows[0, :CONTEXT]).sum(0) >= SHORTEST
    if not seen.any() or not np.isfinite(rows[1, CONTEXT:][:, seen]).any():
        return None
    names = tuple(s.name for s, ok in zip(acted.series, seen, strict=True) if ok)
    action = Action(applied.kind, applied.unit, applied.value)
    dt_s = step * acted.dt_s
    return Event(episode, action, names, dt_s, rows[0][:, seen].T, rows[1][:, seen].T)


def _level(series: Sequence[Series], rows: Floats) -> None:
    """Twins that ran apart differ in levels before anything was done: what counts of a gauge is
    its change since, so the twin's is brought to the acted machine's."""
    gauges = [i for i, s in enumerate(series) if s.semantics == "gauge"]
    before = rows[:, CONTEXT - _BEFORE + 1 : CONTEXT + 1, gauges]
    apart = before[0] - before[1]
    known = np.isfinite(apart)
    offset = np.where(known, apart, 0).sum(0) / np.maximum(known.sum(0), 1)
    rows[1][:, gauges] += offset


def _rates(series: Sequence[Series], t_s: Floats, values: Floats) -> Floats:
    t_ns: NDArray[np.int64] = np.round(t_s * 1e9).astype(np.int64)
    flags = np.zeros(len(t_ns), np.uint32)
    return rates(Window(tuple(series), t_ns, values, flags, len(t_ns) - 1))[2]


def _paired(series: Sequence[Series], t_s: Floats, twin: Trace, step_s: float) -> Floats:
    """The twin's rates at these moments; NaN where it has no row near, or not the series."""
    near = np.clip(np.searchsorted(twin.t_s, t_s), 1, len(twin.t_s) - 1)
    near -= t_s - twin.t_s[near - 1] < twin.t_s[near] - t_s
    place = {s.name: i for i, s in enumerate(twin.series)}
    values = np.full((len(t_s), len(series)), np.nan)
    there = [i for i, s in enumerate(series) if s.name in place]
    values[:, there] = twin.values[near][:, [place[series[i].name] for i in there]]
    values[np.abs(twin.t_s[near] - t_s) > step_s / 2] = np.nan
    return _rates(series, twin.t_s[near], values)
