"""What may be asked about actions, put so that the model can answer: channels, samples, runs.

Owns: the words for groups and actions, the choice of channels, an answer in series and units.
Does not know: D-Bus, the ring, how the model runs. Nothing here acts.
"""

from __future__ import annotations

import difflib
import math
import os.path
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from jepad.engine import wire
from jepad.engine.bounds import ceilings, floors, sane
from jepad.errors import NotFound, NotReady, SettingError
from jepad.heads import action
from jepad.heads.action import Action
from jepad.heads.guesses import KINDS
from jepad.heads.prepare import CONTEXT, HORIZONS
from jepad.records import Floats, Series, Window
from jepad.sources.rates import rates
from jepad.sources.source import word
from jepad.view import span

#: As in engine/recent.py: no rate or gauge of a machine is so large.
ABSURD = 1e18
#: What else can be done to a machine; nobody has measured what it does.
UNMEASURED = frozenset({
    "cpu.max", "cpu.idle", "io.latency", "io.max", "io.weight", "kill", "memory.max",
    "memory.min", "memory.swap.max", "pids.max", "power.profile", "restart", "start", "stop",
})  # fmt: skip
#: Kinds that want a value, in words.
VALUED = {"memory.high": "bytes", "memory.low": "bytes", "cpu.weight": "1 to 10000, 100 is usual"}
HOSTWIDE = "drop_caches"
#: Domains of this question alone: the series of the group acted on, and all channels.
OWN, ALL = "unit", "all"
#: Of every group the model is told these: an action on one is felt by the others.
TOLD = ("memory_current", "cpu_usage")
#: What the guesses of heads/guesses.py rest on.
NEEDED = (
    *("cpu.busy", "cpu.idle", "cpu.iowait"),
    *("mem.Cached", "mem.Buffers", "mem.Shmem", "mem.Mapped"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One action, so long after the one before."""

    kind: str
    unit: str = ""
    value: float | None = None
    after_us: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """What would become of these series?"""

    domain: str
    steps: tuple[Step, ...]
    horizon_us: int = 0
    every: bool = False  # every moment on the way, not the one at the horizon alone


@dataclass(frozen=True, slots=True)
class Samples:
    """What is known of the machine: C channels, rates and gauges, of T steps."""

    series: tuple[Series, ...]
    values: Floats  # [T, C]
    step_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    """The question as the engine takes it."""

    samples: Samples
    acts: tuple[wire.Act, ...]
    picks: tuple[int, ...]  # channels that were asked about
    horizon_s: float
    every: bool

    @property
    def names(self) -> list[str]:
        """Of the channels."""
        return [s.name for s in self.samples.series]


def sampled(window: Window, stride: int, step_s: float) -> Samples:
    """The newest 128 steps of all series; a step is `stride` samples. NotReady without any."""
    if not len(window.t_ns):
        raise NotReady("no sample yet: the first comes within seconds of the start")
    picks = np.arange(len(window.t_ns) - 1, -1, -stride)[::-1]
    # A gap anywhere between two picked rows is a gap between them.
    flags = np.bitwise_or.reduceat(window.flags, np.r_[0, picks[:-1] + 1])
    taken = replace(window, t_ns=window.t_ns[picks], values=window.values[picks], flags=flags)
    series, _, values = rates(taken)
    values[~(np.abs(values) < ABSURD)] = np.nan
    return Samples(series, values[-CONTEXT:], step_s)


def put(
    question: Question, samples: Samples, usual: Iterable[str], patterns: Sequence[str]
) -> Asked:
    """The question about the channels that the model `usual`ly sees, the groups', and those that
    the patterns name. SettingError or NotFound when it can't be put."""
    names = [s.name for s in samples.series]
    steps = [_resolved(step, names) for step in question.steps]
    units = [step.unit for step in steps if step.unit]
    chosen = _channels(names, units, usual)
    if patterns == (question.domain,) and question.domain not in (OWN, ALL):
        more = [n for n in names if n not in chosen and _like(n, patterns)]
        chosen += more[: wire.MAX_CHANNELS - len(chosen)]
    picks = _picked(question.domain, chosen, units, patterns)
    acts = _acts(steps, samples.step_s, question.horizon_us / 1e6)
    for act in acts:
        if act.kind:
            action.check(Action(act.kind, act.unit, act.value), chosen)
    at = [names.index(name) for name in chosen]
    few = Samples(tuple(samples.series[i] for i in at), samples.values[:, at], samples.step_s)
    return Asked(few, acts, picks, question.horizon_us / 1e6, question.every)


def answer(asked: Asked, told: wire.Foreseen, every: Sequence[Series]) -> dict[str, object]:
    """The answer about the channels that were asked for: at the first moment not nearer than the
    horizon; if it was wished, at each one under `steps`. `every`: all series of the machine."""
    picks = [i for i in asked.picks if told.usable[i]]
    if not picks:
        raise NotReady("no forecast: too few samples of these series. Try again in some seconds")
    series = [asked.samples.series[i] for i in picks]
    low = floors(series, asked.samples.values.T[picks])
    without, acted, difference = _sane(
        [wire.doubles(a)[picks] for a in (told.without, told.acted, told.difference)],
        low,
        ceilings(series, every),
    )
    steps = [
        {
            "horizon_usec": round(h * 1e6),
            "without": without[:, k].tolist(),
            "with": acted[:, k].tolist(),
            "difference": difference[:, k].tolist(),
        }
        for k, h in enumerate(told.horizons_s)
    ]
    wanted_s = min(asked.horizon_s, told.horizons_s[-1])
    at = next(k for k, h in enumerate(told.horizons_s) if h >= wanted_s)
    return {
        "series": [s.name for s in series],
        "units": [s.unit for s in series],
        **steps[at],
        "unit": asked.acts[0].unit,
        "part": "model",
        "model": told.model_digest,
        "actions": list(told.actions),
        "steps": steps if asked.every else None,
    }


def unit_of(name: str, units: Sequence[str]) -> str:
    """The group meant: its path, or its last part where one alone has it."""
    asked = word(name.strip("/"))
    if asked in units:
        return asked
    ends = [u for u in units if u.endswith(f"/{asked}")]
    if len(ends) == 1:
        return ends[0]
    if not units:
        raise NotFound("no group is watched here: the kernel accounts for no group's memory")
    parts = [u for u in units if asked and asked in u]
    near = parts or difflib.get_close_matches(
        asked, [*units, *map(os.path.basename, units)], 1, 0.5
    )
    hint = f"; did you mean {near[0]}?" if near else "."
    if ends:
        hint = f": it is the end of {len(ends)} of them, name the whole path."
    raise NotFound(
        f"no unit {asked[:64]!r} among the {len(units)} biggest groups{hint}"
        " See: jepactl what-if --units"
    )


def known_kind(kind: str) -> str:
    """The same, or why nothing can be said of it."""
    if kind in KINDS:
        return kind
    known = f"Known: {', '.join(KINDS)}"
    if kind in UNMEASURED:
        raise NotReady(f"what {kind} does has never been measured: no forecast. {known}")
    near = difflib.get_close_matches(kind, KINDS, 1, 0.5)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise SettingError(f"no action {kind[:40]!r}{hint} {known}")


def _resolved(step: Step, names: Sequence[str]) -> Step:
    known_kind(step.kind)
    if step.value is None and step.kind in VALUED:
        raise SettingError(f"{step.kind} wants a value: {VALUED[step.kind]}")
    if step.kind == HOSTWIDE:
        return step
    if not step.unit:
        raise SettingError(f"{step.kind} wants a unit. See: jepactl what-if --units")
    return replace(step, unit=unit_of(step.unit, action.groups(names)))


def _channels(names: Sequence[str], units: Sequence[str], usual: Iterable[str]) -> list[str]:
    """The groups acted on, what their guesses rest on, what is forecast anyway, other groups."""
    own = [n for u in units for n in names if n.rpartition(".")[0] == f"cgroup.{u}"]
    others = [n for n in names if n.startswith("cgroup.") and n.endswith(TOLD)]
    there = set(names)
    chosen = dict.fromkeys([*own, *(n for n in (*NEEDED, *usual) if n in there), *others])
    return list(chosen)[: wire.MAX_CHANNELS]


def _picked(
    domain: str, chosen: Sequence[str], units: Sequence[str], patterns: Sequence[str]
) -> tuple[int, ...]:
    """Places of what was asked about among the channels."""
    own = {f"cgroup.{unit}" for unit in units}

    def meant(name: str) -> bool:
        if domain == OWN:
            return name.rpartition(".")[0] in own
        return domain == ALL or _like(name, patterns)

    picks = tuple(i for i, name in enumerate(chosen) if meant(name))
    if not picks:
        raise NotFound(f"no series of {domain!r} to tell of. Series: jepactl top --once")
    return picks


def _like(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _acts(steps: Sequence[Step], step_s: float, horizon_s: float) -> tuple[wire.Act, ...]:
    """Each action, and between and after them as many runs as it takes to get so far."""
    acts, gone = [_act(steps[0], 0)], 0
    for step in steps[1:]:
        after = max(1, round(step.after_us / 1e6 / step_s))
        gone += after
        idle, rest = divmod(after - 1, wire.MAX_AFTER)
        acts += [wire.Act("", after=wire.MAX_AFTER)] * min(idle, wire.MAX_ACTS)
        acts.append(_act(step, rest + 1))
    left = horizon_s / step_s - gone - HORIZONS[-1]
    idle = min(max(0, math.ceil(left / wire.MAX_AFTER - 1e-9)), wire.MAX_ACTS)
    acts += [wire.Act("", after=wire.MAX_AFTER)] * idle
    if len(acts) > wire.MAX_ACTS:
        raise SettingError(
            f"too far ahead: the model is run {wire.MAX_ACTS} times at most, once for each action"
            f" and each {span(HORIZONS[-1] * step_s)} after it"
        )
    return tuple(acts)


def _act(step: Step, after: int) -> wire.Act:
    return wire.Act(step.kind, step.unit, step.value or 0.0, after)


def _sane(told: Sequence[Floats], low: Floats, high: Floats) -> tuple[Floats, Floats, Floats]:
    """Within what can be: nothing falls by more than there is, and medians agree."""
    without, acted = (sane(quantiles, low, high) for quantiles in told[:2])
    middle = acted[..., 1] - without[..., 1]
    least, most = low[:, None] - without[..., 2], high[:, None] - without[..., 0]
    below = np.minimum(np.maximum(told[2][..., 0], least), middle)
    above = np.maximum(np.minimum(told[2][..., 2], most), middle)
    return without, acted, np.stack([below, middle, above], axis=-1)
