"""Several forecasts in a row: the path foreseen so far becomes the context of the next run.

Owns: the path between horizons, what stays unsure from run to run, what acting makes of a
forecast. Pure numpy. Does not know: the network, units, who asks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.heads.prepare import CONTEXT, HORIZONS, carried
from jepad.records import Floats

_P10, _P50, _P90 = range(3)
#: A spread that quadruples its variance from one horizon to the next keeps all of what was there
#: (a random walk), one that stays as it is keeps nothing (noise): 1 + q + q² + q³ at 4h over h.
_SHARES = np.linspace(0.0, 2.0, 201)
_GROWTH = 1 + _SHARES + _SHARES**2 + _SHARES**3


@dataclass(frozen=True, slots=True)
class Told:
    """What one run of the model says: [C, H, 3]; effect None = no action was asked about."""

    quantiles: Floats
    effect: Floats | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """What is foreseen from one moment on, p10, p50 and p90: [C, H, 3] each, or [C, 3] of one
    moment."""

    without: Floats
    acted: Floats
    difference: Floats

    def at(self, last: Floats, steps: float) -> Stage:
        """At one moment [C, 3] between now and the farthest horizon; `last` [2, C]: now, without
        and with."""
        rows = (self.without, self.acted, self.difference)
        starts = (*last, last[1] - last[0])
        return Stage(
            *(_path(r, s, np.array([steps]))[:, 0] for r, s in zip(rows, starts, strict=True))
        )


def first(told: Told) -> Stage:
    """Of the first action, from now on."""
    effect = _effect(told)
    acted = _acted(told.quantiles, effect)
    return Stage(told.quantiles, acted, effect)


def later(begun: Stage, before: Stage, idle: Floats, told: Told) -> Stage:
    """Of an action after others. `begun`: the first stage; `before` [C, 3]: what was foreseen of
    this moment; idle [C, H, 3]: from the path without any action; `told`: from the path with them.

    The path that was run on is one of many: what was unsure of it is unsure still, as far as the
    model's own widths say that a deviation lasts; and a smooth path is no calm machine, so no
    width falls below that of the first stage.
    """
    lasting = _lasting(begun.without)[..., None]
    effect = _effect(told)
    without = _wider(idle, begun.without, lasting, before.without)
    acted = _wider(_acted(told.quantiles, effect), begun.acted, lasting, before.acted)
    middle = acted[..., _P50] - without[..., _P50]
    # What earlier actions change goes on changing it: none of its doubt is forgotten.
    doubt = np.hypot(_sides(effect), _sides(before.difference)[:, None])
    return Stage(without, acted, _around(middle, doubt))


def extended(context: Floats, ahead: Floats, steps: int) -> Floats:
    """The context [C, T], at most 128, after so many steps of the medians of `ahead` [C, H, 3]."""
    seen = carried(context)[0]
    path = _path(ahead, seen[:, -1], np.arange(1.0, steps + 1))[..., _P50]
    floor = np.where(seen.min(axis=1) >= 0, 0.0, -np.inf)  # what never was negative stays so
    path = np.maximum(path, floor[:, None])
    return np.concatenate([context, path], axis=1)[:, -CONTEXT:]


def _path(said: Floats, last: NDArray[np.floating], steps: NDArray[np.floating]) -> Floats:
    """[C, N, 3] at so many steps, straight from one horizon to the next."""
    known = np.concatenate([np.repeat(last[:, None, None], 3, 2), said], axis=1)
    at = np.interp(steps, (0, *HORIZONS), np.arange(len(HORIZONS) + 1))
    low = np.minimum(at.astype(int), len(HORIZONS) - 1)
    part = (at - low)[:, None]
    out: Floats = (1 - part) * known[:, low] + part * known[:, low + 1]
    return out


def _effect(told: Told) -> Floats:
    return np.zeros_like(told.quantiles) if told.effect is None else told.effect


def _acted(without: Floats, effect: Floats) -> Floats:
    """The forecast with the action: its effect takes with it the doubt about what it takes away.

    With w kept to the share f, effect = (f - 1) w + rest: of a process that is frozen nothing is
    unsure, however unsure its use would have been.
    """
    middle = without[..., _P50] + effect[..., _P50]
    above_zero = without[..., _P50] > 0
    share = np.divide(middle, without[..., _P50], out=np.ones_like(middle), where=above_zero)
    share = np.clip(share, 0, 1)[..., None]
    own, moved = _sides(without), _sides(effect)
    rest = np.maximum(moved**2 - ((1 - share) * own[..., ::-1]) ** 2, 0)
    return _around(middle, np.sqrt((share * own) ** 2 + rest))


def _wider(own: Floats, least: Floats, lasting: Floats, before: Floats) -> Floats:
    sides = np.maximum(_sides(own), _sides(least))
    carried_on = lasting * _sides(before)[:, None] ** 2
    return _around(own[..., _P50], np.sqrt(sides**2 + carried_on))


def _lasting(quantiles: Floats) -> Floats:
    """The share of a variance that is still there h steps on: [C, H]."""
    width = np.maximum(quantiles[..., _P90] - quantiles[..., _P10], 0) ** 2
    growth = np.divide(
        width[:, 1:], width[:, :-1], out=np.ones_like(width[:, 1:]), where=width[:, :-1] > 0
    )
    share = np.interp(growth, _GROWTH, _SHARES)
    return np.concatenate([share, share[:, -1:]], axis=1)


def _sides(quantiles: Floats) -> Floats:
    """Below and above the median: [..., 2]."""
    middle = quantiles[..., _P50]
    return np.stack([middle - quantiles[..., _P10], quantiles[..., _P90] - middle], axis=-1)


def _around(middle: Floats, sides: Floats) -> Floats:
    return np.stack([middle - sides[..., 0], middle, middle + sides[..., 1]], axis=-1)
