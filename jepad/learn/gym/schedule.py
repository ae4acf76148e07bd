"""What a session does: a pure function of the seed and of the floor it stands on.

Owns: which units run, how big they may be, which action comes when and when it is taken back.
Does not know: kernels, control groups or commands; `native.py` and `guest.py` carry it out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from jepad.learn.gym.episodes import Applied, Floor

MIB = 1 << 20
#: Before the first action: services are up, caches warm.
WARM_UP_S = 60.0
#: An action stands a little longer than the longest horizon an effect is measured at.
HOLD_S = 66.0
#: From one action to the next, at least.
SPACING_S = 72.0
#: Another word here is another set of sessions.
_DRAW = "d"
_UNDONE_BY = {"freeze": "thaw"}


@dataclass(frozen=True, slots=True)
class Traits:
    """What the schedule must know of a workload."""

    memory_mib: tuple[int, int]  # the group's limit is drawn from here
    cached: bool = False  # most of its memory is page cache: squeezing it kills nobody
    presses: bool = False  # makes memory pressure by itself
    service: bool = False  # answers requests: its latency is a label
    hungry: bool = True  # uses what processor it gets: its weight matters


TRAITS: Mapping[str, Traits] = {
    "compile": Traits((220, 420)),
    "sqlite": Traits((120, 300), cached=True),
    "files": Traits((120, 300), cached=True, service=True, hungry=False),
    "archive": Traits((150, 350), cached=True),
    "postgres": Traits((200, 350), cached=True, service=True, hungry=False),
    "stream": Traits((150, 400), cached=True),
    "leak": Traits((250, 500), hungry=False),
    "hog": Traits((200, 400)),
    "burst": Traits((150, 300)),
    "idle": Traits((60, 120), hungry=False),
    "thrash": Traits((150, 300), presses=True),
    "flood": Traits((0, 0), presses=True),  # no limit of its own: it fills the machine's cache
}


@dataclass(frozen=True, slots=True)
class Unit:
    """One control group and what runs in it."""

    name: str  # as in series names, e.g. jepad-gym/files
    workload: str
    memory_mib: int  # 0 = no limit
    cores: float  # its quota


@dataclass(frozen=True, slots=True)
class Ground:
    """What a floor offers."""

    floor: Floor
    prefix: str  # of the units' names
    workloads: tuple[str, ...]
    kinds: Mapping[str, int]  # action -> how often it is drawn, relative to the others
    actions: int = 3  # in a session
    units: tuple[int, int] = (2, 4)
    cores: tuple[float, float] = (0.25, 0.4)


@dataclass(frozen=True, slots=True)
class Plan:
    """One seed's session; its twin does the same without the actions."""

    seed: int
    hz: float
    seconds: float
    units: tuple[Unit, ...]
    actions: tuple[Applied, ...]


def plan(seed: int, ground: Ground) -> Plan:
    """The session of this seed on this ground: every fourth is at 10 Hz and has one action, every
    fourth only presses memory and has none."""
    rng = random.Random(f"{_DRAW} {ground.floor} {seed}")
    quick, presses = seed % 4 == 1, seed % 4 == 3
    ground = replace(ground, actions=1) if quick else ground
    units = _units(rng, ground, seed // 4 if presses else None)
    actions = () if presses else _actions(rng, ground, units)
    end = WARM_UP_S + ground.actions * SPACING_S
    return Plan(seed, 10.0 if quick else 1.0, end, units, actions)


def _units(rng: random.Random, ground: Ground, turn: int | None) -> tuple[Unit, ...]:
    calm = [w for w in ground.workloads if not TRAITS[w].presses]
    pressing = [w for w in ground.workloads if TRAITS[w].presses]
    count = min(rng.randint(*ground.units), len(calm))
    chosen = rng.sample(calm, count)
    if turn is not None and pressing:
        chosen[-1] = pressing[turn % len(pressing)]
    elif not any(TRAITS[w].cached for w in chosen):
        # Squeezing memory is asked of every session, and only cached memory gives way.
        chosen[0] = rng.choice([w for w in calm if TRAITS[w].cached] or calm)
    return tuple(_unit(rng, ground, workload) for workload in chosen)


def _unit(rng: random.Random, ground: Ground, workload: str) -> Unit:
    low, high = TRAITS[workload].memory_mib
    cores = round(rng.uniform(*ground.cores), 2)
    return Unit(f"{ground.prefix}/{workload}", workload, rng.randint(low, high), cores)


def _actions(rng: random.Random, ground: Ground, units: tuple[Unit, ...]) -> tuple[Applied, ...]:
    done: list[Applied] = []
    kinds = _draw(rng, ground)
    for i, kind in enumerate(kinds):
        t = WARM_UP_S + i * SPACING_S + round(rng.uniform(0.0, SPACING_S - HOLD_S - 2.0), 1)
        action = _action(rng, kind, t, units)
        done.append(action)
        back = undo(action, units)
        if back is not None and i < len(kinds) - 1:
            done.append(back)
    return tuple(done)


def _draw(rng: random.Random, ground: Ground) -> list[str]:
    """Kinds of one session, none twice while there are others."""
    left = dict(ground.kinds)
    drawn: list[str] = []
    for _ in range(ground.actions):
        left = left or dict(ground.kinds)
        kind = rng.choices(list(left), weights=list(left.values()))[0]
        del left[kind]
        drawn.append(kind)
    return drawn


def _action(rng: random.Random, kind: str, t: float, units: tuple[Unit, ...]) -> Applied:
    limited = [u for u in units if u.memory_mib]
    cached = [u for u in limited if TRAITS[u.workload].cached]
    share = rng.uniform(0.3, 0.75)
    weight = float(rng.choice((10, 25, 400, 1000)))
    if kind == "drop_caches":
        return Applied(t, kind, "", 0.0)
    if kind in ("memory.high", "memory.low"):
        unit = rng.choice(cached or limited or list(units))
        return Applied(t, kind, unit.name, float(int(share * max(unit.memory_mib, 64)) * MIB))
    if kind == "cpu.weight":
        unit = rng.choice([u for u in units if TRAITS[u.workload].hungry] or list(units))
        return Applied(t, kind, unit.name, weight)
    unit = rng.choice([u for u in units if u.workload != "idle"] or list(units))
    return Applied(t, kind, unit.name, 0.0)


def undo(action: Applied, units: tuple[Unit, ...]) -> Applied | None:
    """What takes an action back; None where nothing can."""
    if action.kind == "drop_caches":
        return None
    before = {
        "memory.high": float(next((u.memory_mib for u in units if u.name == action.unit), 0) * MIB),
        "cpu.weight": 100.0,
    }
    kind = _UNDONE_BY.get(action.kind, action.kind)
    return Applied(
        round(action.t + HOLD_S, 1), kind, action.unit, before.get(action.kind, 0.0), undo=True
    )
