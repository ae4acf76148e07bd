"""Keeps forecasts within what can be.

Owns: the physical limits of a series, order of quantiles. Does not know where they come from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from jepad.records import Floats, Series

USER_HZ = 100.0  # of /proc/stat, on every Linux
#: Most that a rate or gauge of this unit can be.
CEILINGS = {"%": 100.0, "us/s": 1e6, "ms/s": 1e3}
BELOW_ZERO = frozenset({"C", "°C", "degC"})


def ceilings(series: Sequence[Series], every: Sequence[Series]) -> Floats:
    """[C] for forecast series; `every` tells how many processors there are."""
    cpus = sum(1 for s in every if re.fullmatch(r"cpu\d+\.user", s.name))
    return np.array([_ceiling(s, cpus) for s in series])


def floors(series: Sequence[Series], context: Floats) -> Floats:
    """[C]: zero for rates, and for gauges that were never negative in their context [C, T]."""
    lowest = np.fmin.reduce(context, axis=1, initial=np.inf)
    rate = np.array([s.unit.endswith("/s") for s in series], bool)
    free = np.array([s.unit in BELOW_ZERO for s in series], bool)
    return np.where(rate | ((lowest >= 0) & ~free), 0.0, -np.inf)


def sane(quantiles: Floats, low: Floats, high: Floats) -> Floats:
    """[C, H, 3] within limits [C] and in order."""
    inside = np.clip(quantiles, low[:, None, None], high[:, None, None])
    return np.sort(inside, axis=-1)


def _ceiling(series: Series, cpus: int) -> float:
    if series.unit == "tick/s" and cpus:
        alone = re.match(r"cpu\d", series.name)
        return USER_HZ if alone else USER_HZ * cpus
    if series.unit == "ms/s" and not series.name.endswith(".iot"):
        return np.inf  # times of requests in flight add up
    return CEILINGS.get(series.unit, np.inf)
