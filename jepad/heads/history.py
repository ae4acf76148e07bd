"""What is known of each channel from before the model's context.

Owns: the record and its running form, in bounded memory. Does not know: where samples come from.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        v = np.where(ok, values, self.mean)
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

    def state(self) -> dict[str, list[float]]:
        """Plain lists, to persist."""
        return {k: getattr(self, k).tolist() for k in ("seen", "mean", "var", "q97")}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Take a persisted state; channels must match."""
        for key in ("seen", "mean", "var", "q97"):
            value = np.asarray(state[key], dtype=np.float64)
            if value.shape != self.mean.shape or not np.isfinite(value).all():
                raise ValueError(f"history of {value.shape} for {self.mean.shape} channels")
            setattr(self, key, value)
