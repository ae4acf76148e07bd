"""The risk of a memory stall: is there one, will what can be had run out, do the signs say so.

Owns: those three answers, which of them is told, the unit it is laid to. Does not know: what the
signs are (stall_signs.py), what they weigh (stall_weights.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from jepad.heads.stall_past import Past
from jepad.heads.stall_signs import Scene, read_signs, scene
from jepad.heads.stall_weights import Weights, shipped
from jepad.records import Risk

_KIB = 1024.0
_MENTIONED = 64 * 1024.0  # bytes/s; slower growth explains nothing
_WAITING = 0.01  # share of time; a cgroup that waits less is not named
_TOLD = 3  # series named in a cause
_STRAIN = ("vm.pgscan_direct", "vm.pswpout", "vm.allocstall_normal")


@dataclass(frozen=True, slots=True)
class Ahead:
    """How far ahead is looked, and down to what."""

    horizon_s: float
    watermark_kib: float


@dataclass(frozen=True, slots=True)
class Grower:
    """A task that takes memory."""

    name: str  # "firefox[1234]"
    unit: str  # its cgroup; "" when unknown
    bytes_per_s: float


def memory(
    past: Past, stalled: Risk | None, ahead: Ahead, weights: Weights | None = None
) -> Risk | None:
    """The likeliest of: the stall that is there or forecast, the shortage by rule, the stall by
    its signs. Whichever it is, the signs that weigh most are named."""
    seen = scene(past, ahead.watermark_kib)
    if seen is None:
        return stalled
    foretold = _foretold(seen, ahead.horizon_s, weights or shipped())
    found = [r for r in (stalled, _shortage(seen, ahead.horizon_s), foretold) if r is not None]
    if not found:
        return None
    best = max(found, key=lambda risk: risk.probability)
    if foretold is None or best is foretold or not foretold.evidence:
        return best
    evidence = {**foretold.evidence, **best.evidence}
    return replace(best, cause=f"{best.cause}; {foretold.cause}", evidence=evidence)


def blamed(risk: Risk, past: Past, grower: Grower | None) -> Risk:
    """The risk with the unit that takes the memory: the fastest growing task's, else cgroup; where
    nobody grows, the cgroup that waits for memory most."""
    unit, growth = _fastest_growing(past)
    name = unit
    if grower and grower.bytes_per_s > 0:
        unit, name, growth = grower.unit or unit or grower.name, grower.name, grower.bytes_per_s
    if _MENTIONED <= growth < math.inf:
        cause = f"{risk.cause}; {name} grows by {growth / _KIB / _KIB:,.1f} MiB/s"
        return replace(risk, unit=unit, cause=cause)
    unit, share = _most_stalled(past)
    if share < _WAITING:
        return risk
    return replace(risk, unit=unit, cause=f"{risk.cause}; {unit} waits {share:.0%} of the time")


def _shortage(seen: Scene, horizon_s: float) -> Risk | None:
    """Time until what can be had without a stall is used up: MemAvailable against the floor, and
    MemFree too once swap or direct reclaim shows that caches no longer give way."""
    strained = any(seen.past.grown(name) > 0 for name in _STRAIN)
    key = "mem.MemFree" if strained else "mem.MemAvailable"
    line = seen.past.trend(key)
    if line is None:
        return None
    room = max(line.now - seen.floor_kib, 0.0)
    eta = room / -line.slope if line.slope < 0 else math.inf
    z = (-room / horizon_s - line.slope) / line.sd
    falls = line.slope < -2 * line.sd and eta <= 4 * horizon_s
    probability = 0.5 * math.erfc(-z / math.sqrt(2)) if falls else 0.0
    what = key.removeprefix("mem.")
    cause = (
        f"{what} is {line.now / _KIB:,.0f} MiB and changes by {line.slope / _KIB:+,.1f} MiB/s"
        f"; its floor is {seen.floor_kib / _KIB:,.0f} MiB"
    )
    evidence = {key: line.now, f"{key} per s": line.slope}
    return Risk("memory", probability, eta, horizon_s, "", cause, evidence)


def _foretold(seen: Scene, horizon_s: float, weights: Weights) -> Risk | None:
    """What the signs add up to, and the ones that add most."""
    signs = read_signs(seen)
    if not signs:
        return None
    values = {name: sign.value for name, sign in signs.items()}
    added: dict[str, float] = {}
    for name, value in weights.contributions(values).items():
        added[signs[name].series] = added.get(signs[name].series, 0.0) + value
    said = {sign.series: sign for sign in reversed(signs.values())}
    top = [said[series] for series in sorted(added, key=lambda s: -added[s])[:_TOLD]]
    cause = "; ".join(sign.words for sign in top) or "no sign of a shortage"
    evidence = {sign.series: sign.reading for sign in top}
    probability = weights.probability(values)
    return Risk("memory", probability, _eta(seen), horizon_s, "", cause, evidence)


def _eta(seen: Scene) -> float:
    """Seconds until MemFree is at its floor, if it goes on so."""
    slope = seen.past.slope("mem.MemFree", 10.0)
    room = max(seen.past.now("mem.MemFree") - seen.floor_kib, 0.0)
    return room / -slope if slope < 0 else math.inf


def _fastest_growing(past: Past) -> tuple[str, float]:
    """(cgroup, bytes/s) that gained most lately; the deepest of equals."""
    best = ("", 0.0)
    for path, name in _groups(past, ".memory_current"):
        gain = past.slope(name, 30.0)
        deeper = path.startswith(best[0]) and gain >= 0.9 * best[1]
        if gain > 0 and (gain > best[1] or deeper):
            best = (path, gain)
    return best


def _most_stalled(past: Past) -> tuple[str, float]:
    """(cgroup, share of time) that waited for memory most lately."""
    waits = [(past.grown(name) / 1e6, path) for path, name in _groups(past, ".memory_pressure")]
    share, path = max((w for w in waits if w[0] > 0), default=(0.0, ""))
    return path, share


def _groups(past: Past, ending: str) -> list[tuple[str, str]]:
    """(path, series) of the cgroups' series that end so."""
    return [
        (name.removeprefix("cgroup.").removesuffix(ending), name)
        for name in past.place
        if name.startswith("cgroup.") and name.endswith(ending)
    ]
