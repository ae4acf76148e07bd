"""How unlike its own forecast the machine's state came out, against what is usual here.

Owns: predicted latents waiting for their answer, the running distribution of distances.
Does not know: channels, units, thresholds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from jepad.heads.prepare import HORIZONS
from jepad.records import Floats32

#: Distances remembered, those needed before anything is said, and the score's ceiling.
_MEMORY, _FEWEST, _MOST = 3600.0, 64, 20.0
#: Latents look back 128 steps: farther predictions say how well the trend was known, not news.
_NEAR = tuple(i for i, h in enumerate(HORIZONS) if h <= 16)


class Surprise:
    """Feed it each embedding in turn; it answers in deviations above the usual distance."""

    def __init__(self) -> None:
        self._waiting: deque[Floats32] = deque(maxlen=max(HORIZONS[i] for i in _NEAR))
        self._mean = np.zeros(len(HORIZONS))
        self._var = np.zeros(len(HORIZONS))
        self._seen = np.zeros(len(HORIZONS))

    def observe(self, z: Floats32, z_hat: Floats32, steps: int = 1) -> float:
        """z [D] came `steps` after the last one; z_hat [H, D] is what it predicts.

        The mean over horizons of the log distance's deviations from usual, 0..20; NaN until 64
        distances were seen.
        """
        for _ in range(steps - 1):
            self._waiting.append(np.full_like(z_hat, np.nan))
        scores = [self._score(i, z) for i in _NEAR]
        self._waiting.append(z_hat.astype(np.float32))
        known = [s for s in scores if math.isfinite(s)]
        return min(max(sum(known) / len(known), 0.0), _MOST) if known else math.nan

    def pause(self) -> None:
        """What was predicted is about other channels than those that come: no answer to it."""
        self._waiting.clear()

    def told(self) -> list[list[float]]:
        """Mean, variance and count of the distances a horizon, to persist."""
        return [a.tolist() for a in (self._mean, self._var, self._seen)]

    def restore(self, told: Sequence[Sequence[float]]) -> None:
        """Take what `told` said; ValueError if it can't have."""
        if len(told) != 3 or {len(row) for row in told} != {len(HORIZONS)}:
            raise ValueError(f"distances of another shape than 3 x {len(HORIZONS)}")
        rows = np.array(told, np.float64)
        if not np.isfinite(rows).all() or (rows[1:] < 0).any():
            raise ValueError("distances that are negative or not finite")
        self._mean, self._var, self._seen = rows

    def _score(self, i: int, z: Floats32) -> float:
        h = HORIZONS[i]
        if len(self._waiting) < h:
            return math.nan
        distance = float(np.abs(z - self._waiting[-h][i]).mean())
        if not math.isfinite(distance):
            return math.nan
        value = math.log(distance + 1e-6)
        usual, sd, seen = self._mean[i], math.sqrt(self._var[i]), self._seen[i]
        self._seen[i] += 1
        rate = 1 / min(self._seen[i], _MEMORY)
        # What is wild counts no more than five deviations: an alarm must not become the norm.
        held = min(value, usual + 5 * sd) if seen >= _FEWEST else value
        delta = held - usual
        self._mean[i] += rate * delta
        self._var[i] += rate * (delta * (held - self._mean[i]) - self._var[i])
        return (value - usual) / max(sd, 0.02) if seen >= _FEWEST else math.nan
