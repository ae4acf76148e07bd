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

from jepad.records import Floats, Floats32

#: Share of answers that p10..p90 claims to miss, and how far one answer moves the factor.
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
            self.log[:, i] += np.where(known, _RATE * (missed - _MISSED), 0.0)
        np.clip(self.log, _NARROWEST, _WIDEST, out=self.log)

    def state(self) -> dict[str, list[list[float]]]:
        """Plain lists, to persist."""
        return {"log": self.log.tolist()}

    def restore(self, rows: NDArray[np.floating]) -> None:
        """Take persisted factors [C, H]; ValueError on another shape or what is no number."""
        if rows.shape != self.log.shape or not np.isfinite(rows).all():
            raise ValueError(f"widths of {rows.shape} for {self.log.shape}")
        self.log = np.clip(rows.astype(np.float64), _NARROWEST, _WIDEST)
