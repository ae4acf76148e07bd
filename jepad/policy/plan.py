"""Which action would bring this machine nearest to a goal, by asking the model about each.

Owns: what may be proposed and how gently, the search, the result in words and numbers.
Does not know: D-Bus, how the model runs. Nothing here acts: a plan is an answer, no deed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from jepad.errors import JepadError, NotFound, NotReady, SettingError
from jepad.heads import action
from jepad.heads.guesses import KINDS
from jepad.planning.bounds import Axis, Bounds
from jepad.planning.cem import Planner, Settings
from jepad.policy import goal, question
from jepad.policy.goal import Want, Wish
from jepad.policy.jobs import Report
from jepad.policy.question import Samples, Step
from jepad.records import Floats, Series

Told = Mapping[str, object]  # as question.answer
Ask = Callable[[Step], Awaitable[Told]]

#: Nobody can see whether a group is frozen, so a thaw is proposed only if asked for.
PROPOSED = tuple(kind for kind in KINDS if kind != "thaw")
MAX_UNITS = 6
#: Groups that nobody asked about are never proposed: the session, the bus, jepad itself.
SPARED = (
    *("init.scope", "*.slice", "*/user@*.service", "*session*.scope", "*jepad*"),
    *("*dbus*", "*systemd-*", "*polkit*", "*gdm*", "*sddm*", "*lightdm*", "*sshd*"),
)
#: What is weighed against each other runs together on the engine.
TOGETHER = 4
#: An action must bring at least this share of the distance to be worth its name.
WORTH = 0.01
#: What the harshest action costs, in energy: between equals the gentler one is proposed.
HARSH = 0.01
TUNED = 2  # of the actions with a value, so many are tuned
TUNING = Settings(samples=8, elites=3, iterations=3, horizon=1)
MAX_TOLD = 64  # candidates in a result


@dataclass(frozen=True, slots=True)
class Range:
    """Values that may be proposed, on a logarithmic scale; `gentle` changes least."""

    low: float
    high: float
    gentle: float
    of_memory: bool  # shares of the memory that the group holds now

    def value(self, at: float, memory: float) -> float:
        """The value at a place 0..1 of the range."""
        value = self.low * math.exp(at * math.log(self.high / self.low))
        return round(value * memory) if self.of_memory else round(value, 1)

    def harsh(self, at: float) -> float:
        """0..1, how far from the gentle end."""
        gentle = math.log(self.gentle / self.low) / math.log(self.high / self.low)
        return abs(at - gentle) / max(gentle, 1 - gentle)


#: Safety limits as data. Nothing below a quarter of what a group holds is ever proposed.
RANGES = {
    "memory.high": Range(0.25, 1.0, 1.0, True),
    "memory.low": Range(0.25, 1.0, 0.25, True),
    "cpu.weight": Range(10.0, 1000.0, 100.0, False),
}
#: Harshness of the action itself, and what its value adds.
HARSHNESS = {
    "drop_caches": 0.1, "memory.low": 0.1, "cpu.weight": 0.2, "memory.high": 0.3, "thaw": 0.2,
    "freeze": 1.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Aim:
    """What is wished of this machine, and what may be proposed for it."""

    wants: tuple[Want, ...]
    horizon_us: int
    kinds: tuple[str, ...]
    units: tuple[str, ...] = ()  # () = the biggest groups, but for those that are spared


@dataclass(frozen=True, slots=True)
class Candidate:
    """An action that may be proposed; `at` is its place in the range of its values."""

    kind: str
    unit: str = ""
    at: float = 0.5
    memory: float = 0.0

    def step(self) -> Step:
        """As the model is asked."""
        span = RANGES.get(self.kind)
        return Step(self.kind, self.unit, span.value(self.at, self.memory) if span else None)

    def harsh(self) -> float:
        """0..1."""
        span = RANGES.get(self.kind)
        own = HARSHNESS.get(self.kind, 1.0)
        return (own + span.harsh(self.at)) / 2 if span else own


@dataclass(frozen=True, slots=True)
class Tried:
    """What the model said of a candidate; `energy` is the distance to the goal."""

    candidate: Candidate
    energy: float
    told: Told

    @property
    def cost(self) -> float:
        """What is made small: the energy, and a little for harshness."""
        return self.energy + HARSH * self.candidate.harsh()


def understood(wish: Wish, series: Sequence[Series], patterns: Sequence[str]) -> Aim:
    """The wish in terms of this machine; SettingError or NotFound when it can't be."""
    wants = goal.wants(wish.wants, series, patterns)
    return Aim(tuple(wants), wish.horizon_us, wish.actions or PROPOSED, wish.units)


def candidates(aim: Aim, samples: Samples) -> list[Candidate]:
    """Each action on each group that may be proposed. NotFound when there is none."""
    for kind in aim.kinds:
        question.known_kind(kind)
    names = [s.name for s in samples.series]
    memory = {unit: _memory(unit, names, samples.values) for unit in action.groups(names)}
    if aim.units:
        units = [question.unit_of(unit, list(memory)) for unit in aim.units[:MAX_UNITS]]
    else:
        free = [u for u in memory if not any(fnmatchcase(u, p) for p in SPARED)]
        units = sorted(free, key=lambda u: -memory[u])[:MAX_UNITS]
    found = [Candidate(question.HOSTWIDE)] if question.HOSTWIDE in aim.kinds else []
    for kind in aim.kinds:
        of_memory = kind in RANGES and RANGES[kind].of_memory
        if kind != question.HOSTWIDE:
            able = [u for u in units if memory[u] or not of_memory]
            found += [Candidate(kind, unit, 0.5, memory[unit]) for unit in able]
    if not found:
        raise NotFound(
            "nothing to propose: no group here may be acted on. See: jepactl what-if --units"
        )
    return found


class Search:
    """One plan in the making."""

    def __init__(self, aim: Aim, ask: Ask, report: Report) -> None:
        self._aim, self._ask, self._report = aim, ask, report
        self._turns = asyncio.Semaphore(TOGETHER)
        self._idle: dict[str, float] = {}  # p50 of each wanted series if nothing is done
        self._scales: list[float] = []
        self._done = self._total = 0
        self._failed: JepadError | None = None

    async def run(self, found: Sequence[Candidate]) -> dict[str, object]:
        """Ask about every candidate, then tune the best that have a value."""
        tunable = min(TUNED, sum(c.kind in RANGES for c in found))
        self._total = len(found) + tunable * TUNING.samples * TUNING.iterations
        tried = [await self._first(found)]
        tried += await self._all([c for c in found if c != tried[0].candidate])
        energies = [min(t.energy for t in tried)]
        idle = goal.energy(self._aim.wants, self._idle, self._scales)
        for best in _worth_tuning(tried, idle):
            tried += await self._tuned(best.candidate)
            energies.append(min(t.energy for t in tried))
        return self._result(sorted(tried, key=lambda t: t.cost), energies, idle)

    async def _first(self, found: Sequence[Candidate]) -> Tried:
        """The first that there is an answer to: its forecast without action is everyone's."""
        for candidate in found:
            told = await self._told(candidate)
            if told is not None:
                self._idle = _medians(told, "without", self._aim.wants)
                if not all(map(math.isfinite, self._idle.values())):
                    missing = [name for name, v in self._idle.items() if not math.isfinite(v)]
                    raise NotReady(f"no forecast of {missing[0]} yet. Try again in some seconds")
                self._scales = [goal.scale(w, self._idle[w.series]) for w in self._aim.wants]
                return self._judged(candidate, told)
        assert self._failed is not None
        raise self._failed

    async def _all(self, found: Sequence[Candidate]) -> list[Tried]:
        told = await asyncio.gather(*(self._told(c) for c in found))
        return [self._judged(c, t) for c, t in zip(found, told, strict=True) if t is not None]

    async def _told(self, candidate: Candidate) -> Told | None:
        """None where the model has no answer, as of a group that is too young."""
        async with self._turns:
            try:
                told = await self._ask(candidate.step())
            except (NotFound, NotReady, SettingError) as error:
                self._failed, told = error, None
        self._done += 1
        words = f"{candidate.kind} {candidate.unit}".rstrip()
        self._report(self._done / self._total, f"asked about {words}")
        return told

    def _judged(self, candidate: Candidate, told: Told) -> Tried:
        """Its effect upon the one forecast without action, so that all are compared alike."""
        acted = _medians(told, "with", self._aim.wants)
        without = _medians(told, "without", self._aim.wants)
        then = {name: self._idle[name] + acted[name] - without[name] for name in acted}
        return Tried(candidate, goal.energy(self._aim.wants, then, self._scales), told)

    async def _tuned(self, start: Candidate) -> list[Tried]:
        """The cross-entropy method over the value of one action, in the range of its kind."""
        place = Axis("value", 0.0, 1.0, start=start.at)
        search = Planner(Bounds(start.kind, (place,)), TUNING)
        tried: list[Tried] = []
        while not search.done:
            asked = [replace(start, at=float(at)) for at in search.ask()[:, 0, 0]]
            found = await self._all(asked)
            tried += found
            costs = {t.candidate: t.cost for t in found}
            if len(found) < 2:
                break  # the group is gone, or its series are
            search.tell([costs.get(candidate, math.inf) for candidate in asked])
        return tried

    def _result(
        self, tried: Sequence[Tried], energies: Sequence[float], idle: float
    ) -> dict[str, object]:
        """The best, if it is worth its name; else to do nothing."""
        best = tried[0]
        does = idle - best.energy > WORTH * idle
        step = best.candidate.step()
        body = {k: v for k, v in best.told.items() if k not in ("steps", "actions", "unit")}
        if not does:
            without = body["without"]
            assert isinstance(without, list)
            body |= {"with": without, "difference": [(0.0, 0.0, 0.0)] * len(without)}
        return body | {
            "action": step.kind if does else "",
            "unit": step.unit if does else "",
            "value": float(step.value or 0.0) if does else 0.0,
            "energy": best.energy if does else idle,
            "energy_without": idle,
            "reached": (best.energy if does else idle) == 0,
            "wants": [str(w) for w in self._aim.wants],
            "tried": [_row(t) for t in tried[:MAX_TOLD]],
            "energies": [float(e) for e in energies],
            "applied": False,
        }


def _memory(unit: str, names: Sequence[str], values: Floats) -> float:
    """Bytes a group holds now; 0 when unknown."""
    name = f"cgroup.{unit}.memory_current"
    column = values[:, names.index(name)] if name in names else np.empty(0)
    known = column[np.isfinite(column)]
    return float(known[-1]) if known.size else 0.0


def _medians(told: Told, which: str, wanted: Sequence[Want]) -> dict[str, float]:
    """p50 of the wanted series; NaN of those that the model has no forecast of."""
    series, rows = told["series"], told[which]
    assert isinstance(series, list)
    assert isinstance(rows, list)
    return {
        w.series: float(rows[series.index(w.series)][1]) if w.series in series else math.nan
        for w in wanted
    }


def _worth_tuning(tried: Sequence[Tried], idle: float) -> list[Tried]:
    """The best of those that have a value; none that brings nothing."""
    valued = [t for t in tried if t.candidate.kind in RANGES and t.energy < idle]
    return sorted(valued, key=lambda t: t.cost)[:TUNED]


def _row(tried: Tried) -> dict[str, object]:
    step = tried.candidate.step()
    return {
        "action": step.kind,
        "unit": step.unit,
        "value": float(step.value or 0.0),
        "energy": tried.energy,
    }
