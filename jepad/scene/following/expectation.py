"""How surprising a clip is: beside what was predicted of it, or beside what is usual.

Owns: both measures, their running means. Does not know: models, streams, rings.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from jepad.scene.backend import Floats
from jepad.scene.following.seer import Look
from jepad.scene.normal import normed

#: Running means forget by about so many looks.
MEMORY = 512
#: Fewer surprises than this make no usual one.
LEAST = 8


class Measured(NamedTuple):
    """Of one look; NaN = can't be said yet."""

    surprise: float
    beside: float  # its usual: 1 = as ever


class Expectation:
    """One stream's. The first look, and the first after a gap, can surprise nobody who predicts."""

    def __init__(self, predicts: bool) -> None:
        self._predicts = predicts
        self._ahead: Floats | None = None  # [P, K, O], the steps after `_step`
        self._step = 0
        self._mean: Floats | None = None
        self._looks = 0
        self._usual, self._known = 0.0, 0

    def measure(self, look: Look, step: int, still: bool) -> Measured:
        """A look whose newest step in time has this number. `still`: nothing moved since the last
        one but in its newest steps, so that what was expected last holds on until then."""
        surprise = self._against(look, step, still) if self._predicts else self._apart(look.pooled)
        beside = self._beside(surprise)
        self._ahead, self._step = look.ahead, step
        return Measured(surprise, beside)

    def gap(self) -> None:
        """Frames were missed: what was predicted is of steps nobody saw."""
        self._ahead = None

    def _against(self, look: Look, step: int, still: bool) -> float:
        """Mean L1 over the new steps that were predicted."""
        if self._ahead is None:
            return math.nan
        new, most = step - self._step, len(self._ahead)
        if new > most and not still:
            return math.nan
        count = min(new, most, len(look.seen))
        places = np.minimum(np.arange(new - count, new), most - 1)
        return float(np.abs(self._ahead[places] - look.seen[len(look.seen) - count :]).mean())

    def _apart(self, pooled: Floats) -> float:
        """Distance of a layer-normed embedding to the mean of those before: 0 the same, √2 nothing
        in common."""
        here = normed(pooled)
        if self._mean is None:
            self._mean = here
            return math.nan
        apart = float(np.sqrt(np.square(here - self._mean).mean()))
        self._looks += 1
        self._mean = self._mean + (here - self._mean) / np.float32(min(self._looks + 1, MEMORY))
        return apart

    def _beside(self, surprise: float) -> float:
        if not math.isfinite(surprise):
            return math.nan
        usual, known = self._usual, self._known
        self._known = min(known + 1, MEMORY)
        self._usual += (surprise - usual) / self._known
        return surprise / usual if known >= LEAST and usual > 0 else math.nan
