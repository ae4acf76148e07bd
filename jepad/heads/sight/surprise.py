"""How unusual what moves in a scene is, beside what usually moves there.

Owns: each cell's usual motion, the score in deviations, hysteresis. Does not know: pixels, a model
(nothing here is learned but a mean and a variance), who is told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jepad.errors import SettingError
from jepad.vision.motion import Motion

Doubles = npt.NDArray[np.float64]

#: Cells whose mean is the score: one may be a fault of the compression.
CELLS = 3
#: The score's ceiling, in deviations.
MOST = 20.0
_LEAST = 0.25  # deviation that no cell falls below, of log(1 + grey levels)
_START = 2.0  # what was not seen to move says this many times the least deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class SurpriseLimits:
    """When a scene is called surprising, and how long its past is."""

    begin: float = 6.0  # deviations, from which on it is
    end: float = 3.0  # below which it is no longer
    dwell_s: float = 0.5  # above `begin` this long
    calm_s: float = 3.0  # below `end` this long
    memory_s: float = 900.0  # time constant of what is usual
    warm_s: float = 60.0  # nothing is surprising before this much was seen

    def __post_init__(self) -> None:
        times = (self.dwell_s, self.calm_s, self.warm_s)
        if not 0 <= self.end <= self.begin < np.inf:
            raise SettingError(f"surprise wants 0 ≤ end ≤ begin: {self}")
        if not (0 < self.memory_s < np.inf and all(0 <= n < np.inf for n in times)):
            raise SettingError(f"surprise wants times from 0 on: {self}")


@dataclass(frozen=True, slots=True)
class Surprising:
    """What is held of one frame."""

    score: float  # deviations, 0..20
    surprising: bool
    warm: bool  # enough was seen for it to say something


class Surprise:
    """Of one camera. Not for several threads."""

    def __init__(self, limits: SurpriseLimits = SurpriseLimits()) -> None:
        self._limits = limits
        self.reset()

    def reset(self) -> None:
        """Forget what is usual."""
        self._mean: Doubles | None = None
        self._variance: Doubles | None = None
        self._seen_s = 0.0
        self.surprising = False
        self.resume()

    def resume(self) -> None:
        """Frames go on after a gap: what is usual stays, times start anew."""
        self._time_s: float | None = None
        self._since_s: float | None = None  # when the score crossed the limit

    def see(self, motion: Motion, t_s: float) -> Surprising:
        """The newest frame's motion and time. While light changes nothing is said or learned."""
        step_s = 0.0 if self._time_s is None else max(t_s - self._time_s, 0.0)
        self._time_s = t_s
        level = np.log1p(motion.score.astype(np.float64))
        if motion.light or motion.flood or motion.why == "first":
            return Surprising(0.0, self.surprising, self.warm)
        score = self._score(level)
        self._learn(level, step_s)
        self._hold(score, t_s)
        return Surprising(score, self.surprising, self.warm)

    @property
    def warm(self) -> bool:
        """Whether enough was seen."""
        return self._seen_s >= self._limits.warm_s

    def _score(self, level: Doubles) -> float:
        if self._mean is None or self._variance is None:
            return 0.0
        apart = ((level - self._mean) / np.sqrt(self._variance)).ravel()
        few = min(CELLS, apart.size)
        most = np.partition(apart, apart.size - few)[-few:]
        return float(np.clip(most.mean(), 0, MOST))

    def _learn(self, level: Doubles, step_s: float) -> None:
        if self._mean is None or self._variance is None:
            self._mean = level
            self._variance = np.full(level.shape, (_START * _LEAST) ** 2)
            return
        self._seen_s += step_s
        # At first a plain mean over what was seen, later an exponential one.
        rate = step_s / max(step_s + min(self._limits.memory_s, self._seen_s), 1e-9)
        apart = level - self._mean
        self._mean = self._mean + rate * apart
        variance = self._variance + rate * (apart**2 - self._variance)
        self._variance = np.maximum(variance, _LEAST**2)

    def _hold(self, score: float, t_s: float) -> None:
        """Hysteresis: another side of its limit for so long."""
        limits = self._limits
        crossed = score < limits.end if self.surprising else score >= limits.begin
        if not self.warm or not crossed:
            self._since_s = None
            return
        self._since_s = t_s if self._since_s is None else self._since_s
        if t_s - self._since_s >= (limits.calm_s if self.surprising else limits.dwell_s):
            self.surprising, self._since_s = not self.surprising, None
