"""Plain guesses for what an action on a control group changes, from what the group uses now.

Owns: what a series is to an action, by its name, and the arithmetic of memory, processor time and
page cache. The model weighs the guesses. Does not know: scales, the network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from jepad.heads.prepare import EFFECTS, HORIZONS
from jepad.records import Floats

KINDS = ("memory.high", "memory.low", "cpu.weight", "freeze", "thaw", "drop_caches")
FIELDS = ("memory_current", "cpu_usage", "memory_pressure", "io_bytes")
MEMORY, CPU, PRESSURE, IO, ANOTHER, HOST_MEMORY, HOST_CPU, HOST_PRESSURE, OTHER = range(9)
ROLES = (
    *("its memory", "its cpu", "its pressure", "its io", "another group"),
    *("host memory", "host cpu", "host pressure", "other"),
)
#: The six guesses: the target's part ends; it comes back; memory goes to the limit; what it was
#: about to gain is not gained; processor time is shared anew; page cache is freed, or what
#: else goes less surely than the first.
STOPS, RETURNS, LIMIT, HELD, SHARED, FREED = range(EFFECTS)
_STEPS = np.array(HORIZONS, float)
_PASTS = (4, 8, 32, 128)  # samples that speak for each horizon
_MANY = 1e6  # us/s: one processor, or all time stalled
#: us/s that a group waits that is squeezed.
_WAITING = 0.2 * _MANY
#: Bytes/s that a squeezed group swaps out while it waits.
_SWAPPED = 2.0**20


@dataclass(frozen=True, slots=True)
class Place:
    """What a series is to an action."""

    role: int
    field: int  # of a group, as in FIELDS; -1 = the host's
    use: float  # its change by one byte, or one us/s of processor time, more in use
    cache: float  # its change by one byte of page cache freed
    least: float  # the least unit of its effects


_GROUP = (
    Place(MEMORY, 0, 1.0, -1.0, 2.0**20),
    Place(CPU, 1, 1.0, 0.0, 1e4),
    Place(PRESSURE, 2, 1.0, 0.0, 1e4),
    Place(IO, 3, 1.0, 0.0, 1e5),
)
_KIB, _PAGE = 1 / 1024, 1 / 4096
#: The first pattern that matches the whole name tells.
_HOST = (
    (r"mem\.MemFree", Place(HOST_MEMORY, -1, -_KIB, _KIB, 1024)),
    (r"mem\.MemAvailable", Place(HOST_MEMORY, -1, -_KIB, 0, 1024)),
    (r"mem\.(Cached|Buffers|(Ina|A)ctive\(file\))", Place(HOST_MEMORY, -1, 0, -_KIB, 1024)),
    (r"mem\.(AnonPages|(Ina|A)ctive\(anon\))", Place(HOST_MEMORY, -1, _KIB, 0, 1024)),
    (r"vm\.nr_free_pages", Place(HOST_MEMORY, -1, -_PAGE, _PAGE, 256)),
    (r"vm\.nr_(in)?active_file", Place(HOST_MEMORY, -1, 0, -_PAGE, 256)),
    (r"vm\.nr_(in)?active_anon", Place(HOST_MEMORY, -1, _PAGE, 0, 256)),
    (r"mem\..*", Place(HOST_MEMORY, -1, 0, 0, 1024)),
    (r"vm\.nr_.*", Place(HOST_MEMORY, -1, 0, 0, 256)),
    (r"cpu\.(busy|user|system)", Place(HOST_CPU, -1, 1e-4, 0, 1)),
    (r"cpu\.idle", Place(HOST_CPU, -1, -1e-4, 0, 1)),
    (r"cpu\d*\..*", Place(HOST_CPU, -1, 0, 0, 1)),
    (r"load\d+|procs_running", Place(HOST_CPU, -1, 0, 0, 0.1)),
    (r"psi\..*\.total", Place(HOST_PRESSURE, -1, 1, 0, 1e4)),
    (r"psi\..*\.avg\d+", Place(HOST_PRESSURE, -1, 1e-4, 0, 1)),
    (r"vm\..*|disk\..*|ctxt|intr", Place(OTHER, -1, 0, 0, 20)),
)


@lru_cache(4096)
def place(name: str, unit: str) -> Place:
    """What the series `name` is to an action on `unit`."""
    match = re.fullmatch(rf"cgroup\.(.+)\.({'|'.join(FIELDS)})", name)
    if match:
        field, group = FIELDS.index(match[2]), match[1]
        own = _GROUP[field]
        # A group above its target moves as the target does.
        if unit and (f"{group}/".startswith(f"{unit}/") or unit.startswith(f"{group}/")):
            return own
        return Place(ANOTHER, field, 1.0, own.cache, own.least)
    for pattern, found in _HOST:
        if re.fullmatch(pattern, name):
            return found
    return Place(OTHER, -1, 0, 0, 0)


class Seen:
    """The state guesses rest on: of each series [C, H], of target and host; bytes and us/s."""

    def __init__(
        self, places: Sequence[Place], names: list[str], values: Floats, unit: str
    ) -> None:
        values = np.where(np.abs(values) < 1e30, values, np.nan)
        self.places = places
        #: The further ahead, the longer the past that speaks for it.
        self.usual = np.stack([_recent(values, k) for k in _PASTS], 1)
        #: Of what comes in bursts, less than the mean: what is most often lost.
        self.mostly = np.stack([_median(values[:, -k:]) for k in _PASTS], 1)
        self.active = _active(values)
        self.high = np.fmax.reduce(values, axis=1, initial=0.0)
        slope = (_recent(values, 4) - _recent(values[:, -20:-4], 16)) / 10
        self.slope = np.where(np.isfinite(values[:, -20:]).sum(1) >= 16, slope, 0.0)
        at = {name: i for i, name in enumerate(names)}
        memory, cpu, _, io = (at.get(f"cgroup.{unit}.{field}", -1) for field in FIELDS)
        self.memory = float(self.usual[memory, 0]) if memory >= 0 else 0.0
        self.drift = (self.slope[memory] if memory >= 0 else 0.0) * _STEPS
        self.climb = (_climb(values[memory]) if memory >= 0 else 0.0) * _STEPS
        self.expected = np.maximum(self.memory + self.drift, 0.0)
        none = np.zeros(len(_STEPS))
        self.cpu = self.usual[cpu] if cpu >= 0 else none
        self.restart = np.maximum(self.active[cpu] - self.cpu, 0) if cpu >= 0 else none
        others = [i for i, p in enumerate(places) if (p.role, p.field) == (ANOTHER, 1)]
        self.others = self.usual[others].sum(0) if others else none
        self.rivals = int((self.usual[others, 2] > 0.02 * _MANY).sum()) if others else 0
        level = {name: float(self.usual[i, 1]) for name, i in at.items()}
        self.busy = 1e4 * level.get("cpu.busy", float(self.cpu[1] + self.others[1]) / 1e4)
        spare = 1e4 * (level.get("cpu.idle", 0.0) + level.get("cpu.iowait", 0.0))
        self.capacity = max(self.busy + spare, _MANY)
        #: Whether processors are idle: then what one group leaves no other takes.
        self.spare = float(spare > 0.05 * self.capacity)
        pinned = level.get("mem.Shmem", 0.0) + level.get("mem.Mapped", 0.0)
        held = level.get("mem.Cached", 0.0) + level.get("mem.Buffers", 0.0) - pinned
        self.cache = 1024 * max(held, 0.0)
        #: Where what is squeezed out can go; unknown is enough.
        self.swap = 1024 * level.get("mem.SwapFree", np.inf)
        #: A group that reads and writes nothing holds no page cache.
        self.reads = io < 0 or bool((values[io] > 0).any())
        self.grouped = float(sum(self.usual[i, 1] for i, p in enumerate(places) if p.field == 0))


def _recent(values: Floats, count: int) -> Floats:
    """Mean of the newest `count` of [C, T], NaN left out; 0 where there is none: [C]."""
    tail = values[:, -count:]
    known = np.isfinite(tail)
    out: Floats = np.where(known, tail, 0).sum(1) / np.maximum(known.sum(1), 1)
    return out


def _median(values: Floats) -> Floats:
    """Of [C, T], NaN left out; 0 where there is none: [C]."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.maximum(np.isfinite(values).sum(1), 1)
    out: Floats = np.nan_to_num(ordered[np.arange(len(values)), (count - 1) // 2])
    return out


def _active(values: Floats) -> Floats:
    """The mean of [C, T] where it is more than a little: what a group does when it works."""
    high = np.fmax.reduce(values, axis=1, initial=0.0)
    works = values > 0.1 * high[:, None]
    out: Floats = np.where(works, values, 0).sum(1) / np.maximum(works.sum(1), 1)
    return out


def _climb(values: Floats) -> float:
    """What [T] gains a step where it gains."""
    gained = np.diff(values)
    gained = gained[gained > 0]
    return float(gained.mean()) if len(gained) else 0.0


def guesses(seen: Seen, kind: str, value: float, dt_s: float) -> Floats:
    """Of each series, in its own units, with the action less without it: [C, H, EFFECTS]."""
    out = np.zeros((len(seen.places), len(_STEPS), EFFECTS))
    for i, row in enumerate(out):
        if kind == "freeze":
            _freeze(row, seen, i)
        elif kind == "thaw":
            _thaw(row, seen, i)
        elif kind == "cpu.weight":
            _weight(row, seen, i, value)
        elif kind == "drop_caches":
            _drop(row, seen, i)
        elif kind == "memory.high" and (seen.expected > value).any():
            _squeeze(row, seen, i, (value, dt_s))
        else:
            _relieve(row, seen, i)
    return out


def _freeze(row: Floats, s: Seen, i: int) -> None:
    p, own = s.places[i], s.usual[i]
    if p.role in (CPU, PRESSURE, IO):
        row[:, STOPS] = -np.minimum(s.mostly[i], own)
        row[:, FREED] = -own - row[:, STOPS]  # what it does beyond that, in bursts
    elif p.role == HOST_CPU:
        row[:, STOPS] = -s.cpu * p.use * s.spare
    elif p.role in (HOST_PRESSURE, OTHER):
        row[:, STOPS] = -own * s.cpu / max(s.busy, 1.0)
    elif p.role in (MEMORY, HOST_MEMORY):
        row[:, HELD] = -s.drift * p.use
    elif p.field == CPU:
        row[:, SHARED] = s.cpu * _part(s, own) * (1 - s.spare)


def _thaw(row: Floats, s: Seen, i: int) -> None:
    p, own = s.places[i], s.usual[i]
    if p.role == CPU:
        row[:, RETURNS] = s.restart
    elif p.role in (PRESSURE, IO):
        row[:, RETURNS] = np.maximum(s.active[i] - own, 0)
    elif p.role == HOST_CPU:
        row[:, RETURNS] = s.restart * p.use * s.spare
    elif p.role in (MEMORY, HOST_MEMORY):
        row[:, HELD] = s.climb * p.use
    elif p.field == CPU:
        row[:, SHARED] = -np.minimum(s.restart * _part(s, own), own) * (1 - s.spare)


def _weight(row: Floats, s: Seen, i: int, weight: float) -> None:
    """Groups that want more than there is share by weight; a rival's is taken to be 100."""
    p, own = s.places[i], s.usual[i]
    total = s.cpu + s.others
    fair = total * weight / (weight + 100 * s.rivals)
    gain = np.clip(fair - s.cpu, -s.cpu, s.others) * (1 - s.spare)
    if p.role == CPU:
        row[:, SHARED] = np.maximum(gain, 0) if weight > 100 else np.minimum(gain, 0)
    elif p.role == ANOTHER and p.field == CPU:
        row[:, SHARED] = -gain * _part(s, own)


def _drop(row: Floats, s: Seen, i: int) -> None:
    p, own = s.places[i], s.usual[i]
    if p.field == MEMORY:
        row[:, FREED] = -np.minimum(own, s.cache * own / max(s.grouped, 1.0))
    elif p.role == HOST_MEMORY:
        row[:, FREED] = np.maximum(s.cache * p.cache, -own)
    elif p.field == IO:
        row[:, RETURNS] = np.maximum(s.active[i] - own, 0)


def _squeeze(row: Floats, s: Seen, i: int, limit: tuple[float, float]) -> None:
    """A limit below what the group will hold: it is reclaimed from, and waits meanwhile."""
    value, dt_s = limit
    p, own = s.places[i], s.usual[i]
    over = np.maximum(s.expected - value, 0)
    if p.role in (MEMORY, HOST_MEMORY):
        # Page cache goes at once, other memory to swap bit by bit; the rest stays, and grows
        # no more.
        cached = np.minimum(over, s.cache * s.reads)
        swapped = np.minimum(np.minimum(over - cached, s.swap), _SWAPPED * _STEPS * dt_s)
        row[:, LIMIT], row[:, FREED] = -cached * p.use, -swapped * p.use
        rest = np.minimum(over - cached - swapped, np.maximum(s.drift, 0))
        row[:, HELD] = -rest * p.use
    elif p.role in (PRESSURE, HOST_PRESSURE):
        row[:, LIMIT] = (_WAITING * p.use - own) * (over > 0)
    elif p.role == CPU:
        row[:, STOPS] = -_WAITING / _MANY * np.minimum(s.cpu, own) * (over > 0)
    elif p.role == HOST_CPU:
        row[:, STOPS] = -_WAITING / _MANY * s.cpu * p.use * (over > 0) * s.spare
    elif p.role == IO:
        row[:, LIMIT] = over / (_STEPS * dt_s)


def _relieve(row: Floats, s: Seen, i: int) -> None:
    """Memory promised, or a limit above what the group holds: what pressed it may cease."""
    p, own = s.places[i], s.usual[i]
    if p.role in (PRESSURE, HOST_PRESSURE):
        row[:, STOPS] = -own
    elif p.role == MEMORY:
        row[:, RETURNS] = s.high[i] - own
        row[:, HELD] = np.maximum(-s.drift, 0)
    elif p.role in (CPU, IO):
        row[:, RETURNS] = np.maximum(s.active[i] - own, 0)


def _part(s: Seen, own: Floats) -> Floats:
    """Another group's part of the processor time of all others."""
    return own / np.maximum(s.others, 1.0)
