"""What is known of each channel from before the model's context.

Owns: the record and its running form, in bounded memory. Does not know: where samples come from,
the names of channels, files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from jepad.records import Floats

#: Days back, samples before now and samples after now that a season window holds.
DAYS, BEFORE, AFTER = 7, 16, 64


@dataclass(frozen=True, slots=True)
class History:
    """Statistics of a channel's past; NaN where unknown."""

    mean: NDArray[np.floating]  # [B, C]
    sd: NDArray[np.floating]  # [B, C]
    q97: NDArray[np.floating]  # [B, C]: the threshold of p_rise
    #: [B, C, DAYS, BEFORE + AFTER]: the same time 1..7 days ago, from BEFORE - 1 samples
    #: before now to AFTER samples after; None = no day has been seen.
    days: NDArray[np.floating] | None = None


def joined(histories: Sequence[History]) -> History | None:
    """Batches of one as one batch; a host without days among hosts with some has seen none."""
    if not histories:
        return None
    shape = (*histories[0].mean.shape, DAYS, BEFORE + AFTER)
    days = None
    if any(h.days is not None for h in histories):
        none = np.full(shape, np.nan, np.float32)
        days = np.concatenate([none if h.days is None else h.days for h in histories])
    return History(
        mean=np.concatenate([h.mean for h in histories]),
        sd=np.concatenate([h.sd for h in histories]),
        q97=np.concatenate([h.q97 for h in histories]),
        days=days,
    )


#: A value farther out than so many deviations counts as one there: a single absurd one must not
#: spoil hours of statistics, and what stays there is believed within minutes.
_FARTHEST = 100.0
_STATE = ("seen", "mean", "var", "q97")


_Real = TypeVar("_Real", bound=np.generic)


def moved(kept: NDArray[_Real], places: NDArray[np.intp], new: float = 0.0) -> NDArray[_Real]:
    """Rows in a new order: row i was row places[i]; where that is -1 it is `new`."""
    out: NDArray[_Real] = np.full((len(places), *kept.shape[1:]), new, kept.dtype)
    out[places >= 0] = kept[places[places >= 0]]
    return out


class Running:
    """Mean, deviation and q97 of C channels, forgetting slowly; can be saved and restored."""

    def __init__(self, channels: int, memory: int = 7200) -> None:
        self.seen = np.zeros(channels)
        self.mean = np.zeros(channels)
        self.var = np.zeros(channels)
        self.q97 = np.zeros(channels)
        self._memory = memory

    def update(self, values: Floats) -> None:
        """Take one row [C]; NaN is no news."""
        ok = np.isfinite(values)
        # A channel that never moved may start to: nothing is far from what has no deviation.
        reach = np.where(self.var > 0, _FARTHEST * np.sqrt(self.var), np.inf)
        reach[self.seen < 128] = np.inf
        v = np.where(ok, np.clip(values, self.mean - reach, self.mean + reach), self.mean)
        self.seen += ok
        rate = np.where(ok, 1.0 / np.clip(self.seen, 1, self._memory), 0.0)
        first = ok & (self.seen == 1)
        self.mean[first] = self.q97[first] = v[first]
        delta = v - self.mean
        self.mean += rate * delta
        self.var += rate * (delta * (v - self.mean) - self.var)
        # Stochastic quantile: steps up 97 for each 3 down, sized by the channel's deviation.
        step = np.clip(rate * 20, 0, 0.2) * np.sqrt(self.var)
        self.q97 += np.where(ok, np.where(v > self.q97, 0.97, -0.03) * step, 0.0)

    def history(self, at_least: int = 128) -> History:
        """The statistics as a batch of one; NaN until `at_least` samples were seen."""
        known = self.seen >= at_least
        row = [np.where(known, a, np.nan)[None] for a in (self.mean, np.sqrt(self.var), self.q97)]
        return History(*row)

    def move(self, places: NDArray[np.intp]) -> None:
        """Other channels from now on: channel i was places[i], or is new where that is -1."""
        for key in _STATE:
            setattr(self, key, moved(getattr(self, key), places))

    def told(self, channel: int) -> tuple[float, ...]:
        """seen, mean, var and q97 of one channel, to persist."""
        return tuple(float(getattr(self, key)[channel]) for key in _STATE)

    def restore(self, channel: int, told: Sequence[float]) -> None:
        """Take what `told` said of a channel; ValueError if it can't have."""
        if len(told) != len(_STATE) or not np.isfinite(told).all() or min(told[0], told[2]) < 0:
            raise ValueError("statistics that are negative, not finite or not four")
        for key, value in zip(_STATE, told, strict=True):
            getattr(self, key)[channel] = value
