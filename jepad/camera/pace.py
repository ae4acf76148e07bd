"""When a frame was, whether it is wanted, and how far we are behind.

Owns: times made monotonic, the grid of the wanted rate, the estimate of when a source began.
Does not know clocks (it is told), codecs or rings.
"""

from __future__ import annotations

import math

#: A time that leaps further is a fault of the source, not a pause.
LEAP_S = 60.0
#: Behind so much, what nothing else is made from is not decoded; below the second, again all is.
SKIP_S, CAUGHT_UP_S = 0.3, 0.1
#: Behind so much, a frame is not worth telling, but for one a second.
LATE_S = 1.0
#: So far behind the clock was stopped, or the source: begin anew.
LOST_S = 30.0
#: A source's clock may run so much slower than ours.
DRIFT = 1e-3


class Times:
    """Seconds from the first frame, never going back, whatever the source says."""

    def __init__(self, rate: float) -> None:
        self._shift = 0.0
        self._last = -1.0
        self.begin(rate)

    def begin(self, rate: float, *, timed: bool = True) -> None:
        """The source begins, or begins anew: its next time follows the last one.

        `rate`: frames a second, as it says; `timed`: frames have times of their own.
        """
        self._step = 1 / rate if math.isfinite(rate) and rate > 0 else 0.04
        self._timed, self._anew = timed, True

    def of(self, told: float | None) -> float:
        """Of the next frame; `told` is the source's word."""
        if not self._timed or told is None or not math.isfinite(told):
            told = None
        here = self._next() if told is None else told + self._shift
        if told is not None and (self._anew or not -1.0 < here - self._last < LEAP_S):
            here = self._next()
            self._shift = here - told
        self._anew = False
        self._last = max(self._last, here)
        return self._last

    def _next(self) -> float:
        return self._last + self._step if self._last >= 0 else 0.0


class Grid:
    """One frame a period: the first within half a period of each point of the grid."""

    def __init__(self, fps: float) -> None:
        self._period = 1 / fps
        self._due = -math.inf

    def takes(self, t_s: float) -> bool:
        """Whether this one is wanted; told in order."""
        period = self._period
        if self._due == -math.inf:
            self._due = t_s + period
            return True
        early = t_s - self._due
        if early < -period / 2:
            return False
        self._due += period * (math.floor(early / period + 0.5) + 1)
        return True


class Origin:
    """When a source's second 0 was on our clock."""

    def __init__(self, *, ours: bool) -> None:
        """`ours`: we keep the time; else it is the earliest that the arrivals allow."""
        self._ours = ours
        self._at = math.nan
        self._seen = 0.0

    def behind(self, t_s: float, now: float) -> float:
        """Seconds from the time a frame was due to now; negative for one that is yet to come."""
        if math.isnan(self._at):
            self._at, self._seen = now - t_s, now
        elif not self._ours:
            drifted = self._at + DRIFT * max(now - self._seen, 0.0)
            self._at, self._seen = min(drifted, now - t_s), now
        behind = now - t_s - self._at
        if behind > LOST_S or behind < -LEAP_S:
            self._at, behind = now - t_s, 0.0
        return behind
