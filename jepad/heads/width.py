"""Intervals that hold here: each channel's width follows how often its own intervals held.

Owns: one factor a channel and horizon, and the intervals waiting for their answer. Adaptive
conformal inference (Gibbs and Candès 2021, eq. 2) on the logarithm of the width.
Does not know: who made the forecast.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepad.heads.history import moved
from jepad.records import Floats, Floats32

#: Share of answers that p10..p90 claims to miss, and how far one answer moves the factor: by this
#: over the root of the horizon, as answers that overlap tell of the same miss again and again.
_MISSED, _RATE = 0.2, 0.03
_NARROWEST, _WIDEST = np.log(0.4), np.log(4.0)


class Width:
    """Factors for C channels at given horizons (in steps); 1 = as forecast."""

    def __init__(self, channels: int, horizons: Sequence[int]) -> None:
        self._horizons = tuple(horizons)
        self._waiting: deque[Floats32] = deque(maxlen=max(horizons))
        self.log = np.zeros((channels, len(self._horizons)))

    def fitted(self, newest: Floats, quantiles: Floats, steps: int = 1) -> Floats:
        """newest [C] came `steps` after the last call; quantiles [C, H, 3] start at it.

        Gives them back with p10 and p90 moved from p50 by the factors, in the same units."""
        for _ in range(steps - 1):
            self._waiting.append(np.full(quantiles.shape, np.nan, np.float32))
        self._learn(newest)
        middle = quantiles[..., 1:2]
        out: Floats = middle + (quantiles - middle) * np.exp(self.log)[..., None]
        self._waiting.append(out.astype(np.float32))
        return out

    def _learn(self, newest: Floats) -> None:
        for i, h in enumerate(self._horizons):
            if len(self._waiting) < h:
                continue
            low, _, high = self._waiting[-h][:, i].T
            # A flat channel's interval has no width to fit; NaN is no answer.
            known = np.isfinite(newest) & (high > low)
            missed = (newest < low) | (newest > high)
            self.log[:, i] += np.where(known, _RATE / h**0.5 * (missed - _MISSED), 0.0)
        np.clip(self.log, _NARROWEST, _WIDEST, out=self.log)

    def move(self, places: NDArray[np.intp]) -> None:
        """Other channels from now on: channel i was places[i], or is new where that is -1."""
        self.log = moved(self.log, places)
        for _ in range(len(self._waiting)):
            self._waiting.append(moved(self._waiting.popleft(), places, np.nan))

    def told(self, channel: int) -> list[float]:
        """Logarithm of one channel's factors, to persist."""
        row: list[float] = self.log[channel].tolist()
        return row

    def restore(self, channel: int, told: Sequence[float]) -> None:
        """Take what `told` said of a channel; ValueError if it can't have."""
        if len(told) != len(self._horizons) or not np.isfinite(told).all():
            raise ValueError(f"widths that are not finite or not {len(self._horizons)}")
        self.log[channel] = np.clip(told, _NARROWEST, _WIDEST)
