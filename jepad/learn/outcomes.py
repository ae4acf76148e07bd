"""What actions changed, row by row, and how good a foretelling of it is.

Owns: which changes are an action's doing at all, the mean effect that a foretelling must beat,
the ratios. Does not know: who foretold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.heads.action import role
from jepad.heads.guesses import FIELDS
from jepad.heads.prepare import CONTEXT, HORIZONS
from jepad.learn.twins import Event
from jepad.records import Floats

Key = tuple[str, str, str]  # kind of action, sort of series, sort of machine and pace
#: Events a sort of series must have been changed in, and how surely.
_FEWEST, _SURE, _NOISES = 4, 3.0, 2.0
#: Mean sizes that one effect counts at most.
_WILDEST = 3.0
#: Samples before the action in which twins that differ differ by chance.
_BEFORE = 16
#: In units: errors this small are no difference.
_EVEN = 0.02


@dataclass(frozen=True, slots=True)
class Rows:
    """One row a channel of an event."""

    key: list[Key]
    seed: NDArray[np.int64]  # [N]
    effect: Floats  # [N, H], in the series' own units; NaN = unknown
    noise: Floats  # [N]: how far the twins were apart before
    guessed: Floats  # [N, H, E], own units
    unit: Floats  # [N, H]: of the graph's effects

    def of(self, at: NDArray[np.intp]) -> Rows:
        """Some of the rows."""
        key = [self.key[i] for i in at]
        seed, effect, noise = self.seed[at], self.effect[at], self.noise[at]
        return Rows(key, seed, effect, noise, self.guessed[at], self.unit[at])


def key_of(name: str, event: Event) -> Key:
    """What rows are of one sort. A mean over small guests and a big host would be a weak one."""
    where = f"{event.episode.floor}, {event.dt_s:.2g} s"
    return event.action.kind, _sort(name, event), where


def _sort(name: str, event: Event) -> str:
    """What is alike between machines: a group's name is not."""
    field = name.rpartition(".")[2]
    if name.startswith("cgroup.") and field in FIELDS:
        return f"{'another' if role(name, event.action) == 'another group' else 'its'} {field}"
    if name.startswith("disk."):
        return f"disk {field}"
    return name


def rows(happened: Sequence[Event]) -> Rows:
    """All channels of all events, one below the other."""
    key: list[Key] = []
    guessed, units_of = [], []
    for event in happened:
        now, unit = event.prepared()
        key += [key_of(name, event) for name in event.names]
        guessed.append(now.feeds["effects"][0] * unit[..., None])
        units_of.append(unit)
    before = slice(CONTEXT - _BEFORE, CONTEXT)
    apart = [np.abs(e.acted[:, before] - e.idle[:, before]) for e in happened]
    return Rows(
        key=key,
        seed=np.repeat([e.episode.seed for e in happened], [len(e.names) for e in happened]),
        effect=np.concatenate([e.effect for e in happened]),
        noise=np.concatenate([np.nan_to_num(a).mean(1) for a in apart]),
        guessed=np.concatenate(guessed),
        unit=np.concatenate(units_of),
    )


def mean_effects(taught: Rows) -> dict[Key, Floats]:
    """What each kind of action changes on average in each sort of series: [H]."""
    return {k: _mean(taught.effect[at]) for k, at in _places(taught.key).items()}


def units(taught: Rows) -> dict[Key, Floats]:
    """The mean size of effects [H]: what an error is measured in, alike for bytes and stalls."""
    places = _places(taught.key)
    size = {k: _mean(np.abs(taught.effect[at])) for k, at in places.items()}
    sorts: dict[tuple[str, ...], list[Floats]] = {}
    for key, mean in size.items():
        sorts.setdefault(key[1:], []).append(mean)
    # Where an action changes next to nothing, noise must not be blown up to look like something.
    least = {k: 0.1 * taught.unit[at].mean(0) for k, at in places.items()}
    return {
        k: np.maximum(np.maximum(mean, 0.3 * np.mean(sorts[k[1:]], axis=0)), least[k])
        for k, mean in size.items()
    }


def clear(taught: Rows) -> dict[Key, NDArray[np.bool_]]:
    """Where an action does something [H]: more than the twins differ by chance, and with a sign
    that is always the same, or the one that a plain guess foresees; machines of all sorts
    together, each in its own mean size."""
    size = units(taught)
    sizes = np.stack([size[key] for key in taught.key])
    shares = np.clip(taught.effect / sizes, -_WILDEST, _WILDEST)
    loud = sizes > _NOISES * taught.noise[:, None]
    out = {}
    for at in _places([(k[0], k[1], k[2].partition(",")[2]) for k in taught.key]).values():
        share = np.where(loud[at], shares[at], 0.0)
        share[~np.isfinite(shares[at])] = np.nan
        signs = [np.ones_like(share), *np.moveaxis(np.sign(taught.guessed[at]), -1, 0)]
        sure = np.max([_surely(share * s) for s in signs], axis=0) > _SURE
        doing = sure & (np.isfinite(share).sum(0) >= _FEWEST)
        out.update(dict.fromkeys({taught.key[i] for i in at}, doing))
    return out


@dataclass(frozen=True, slots=True)
class Verdict:
    """One kind of action, sort of series and horizon."""

    key: Key
    horizon: int  # place in HORIZONS
    events: int
    error: float  # mean |foretold - actual| in `units`
    of_mean: float  # the same of the per-action mean effect
    of_none: float  # the same of "no effect"
    inside: float  # share within p10..p90

    @property
    def ratio(self) -> float:
        """Error ÷ that of the mean effect; what both know almost perfectly counts as even."""
        return (self.error + _EVEN) / (self.of_mean + _EVEN)


def verdicts(taught: Rows, asked: Rows, foretold: Floats) -> list[Verdict]:
    """Judge foretold [N, H, 3] on `asked` where, by what was taught, there is an effect."""
    means, unit, doing = mean_effects(taught), units(taught), clear(taught)
    out = []
    for key, at in _places(asked.key).items():
        for h in np.flatnonzero(doing.get(key, np.zeros(len(HORIZONS), bool))):
            actual = asked.effect[at, h]
            said = foretold[at, h]
            known = np.isfinite(actual)
            if not known.any():
                continue
            actual, said = actual[known], said[known]
            mine, mean, none = (
                float(np.abs(actual - x).mean() / unit[key][h])
                for x in (said[:, 1], means[key][h], 0.0)
            )
            inside = float(((actual >= said[:, 0]) & (actual <= said[:, 2])).mean())
            out.append(Verdict(key, int(h), len(actual), mine, mean, none, inside))
    return out


def overall(found: Sequence[Verdict]) -> dict[str, float]:
    """Geometric mean of the ratios, each as often as it has events; their median; the ratio of
    mean errors; the coverage."""
    if not found:
        return dict.fromkeys(("ratio", "median", "pooled", "none", "coverage"), float("nan"))
    ratio = np.array([v.ratio for v in found])
    none = np.array([(v.of_none + _EVEN) / (v.of_mean + _EVEN) for v in found])
    count = np.array([v.events for v in found])
    error, of_mean = (
        float(np.average([getattr(v, name) for v in found], weights=count))
        for name in ("error", "of_mean")
    )
    return {
        "ratio": float(np.exp(np.average(np.log(ratio), weights=count))),
        "median": float(np.median(ratio)),
        "pooled": error / max(of_mean, 1e-9),
        "none": float(np.exp(np.average(np.log(none), weights=count))),
        "coverage": float(np.average([v.inside for v in found], weights=count)),
    }


def _places(keys: Sequence[Key]) -> dict[Key, NDArray[np.intp]]:
    found: dict[Key, list[int]] = {}
    for i, key in enumerate(keys):
        found.setdefault(key, []).append(i)
    return {k: np.asarray(v) for k, v in found.items()}


def _mean(values: Floats) -> Floats:
    """Over the rows that are known [N, H] -> [H]; 0 where none is."""
    known = np.isfinite(values)
    out: Floats = np.where(known, values, 0).sum(0) / np.maximum(known.sum(0), 1)
    return out


def _surely(values: Floats) -> Floats:
    """How many standard errors the mean is above or below zero: [N, H] -> [H]."""
    count = np.isfinite(values).sum(0)
    mean = _mean(values)
    spread = np.sqrt(_mean((values - mean) ** 2) / np.maximum(count - 1, 1))
    out: Floats = np.abs(mean) / np.maximum(spread, 1e-12 + 1e-6 * np.abs(mean))
    return out
