"""Which clips of a stream are worth encoding.

Owns: the rule. Does not know: frames, models; whether something moves it is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

Verdict = Literal["", "moved", "settled", "refresh", "still"]


class Due:
    """Where something moved since the clip that was encoded last; once more when a whole clip is
    still; and in any case after `refresh_s`."""

    def __init__(
        self,
        every: int,
        unit: int,
        window: int,
        refresh_s: float,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`every` so many steps in time of `unit` frames, clips of `window` frames."""
        self._clock_ns = clock_ns
        self._every, self._unit, self._window = every, unit, window
        self._refresh_ns = int(refresh_s * 1e9)
        self.restart()

    def restart(self) -> None:
        """The next clip is the first one."""
        self._units = self._every
        self._moved, self._settled = True, False
        self._calm = 0  # frames in a row without motion
        self._last_ns = self._at_ns = 0  # by the frames' own time, and by ours
        #: Every clip since the last one that was encoded was still.
        self.quiet = False

    def frame(self, moved: bool, t_ns: int, count: int) -> Verdict:
        """ "" = no clip ends with this frame, the `count`th in a row; "still" = one that is not
        worth it; else why it is."""
        self._calm = 0 if moved else self._calm + 1
        self._moved |= moved
        self._settled &= not moved
        if count % self._unit:
            return ""
        self._units += 1
        if self._units < self._every:
            return ""
        if self._moved:
            return "moved"
        if not self._settled and self._calm >= self._window:
            return "settled"
        # A camera whose clock stands still is looked at again, too.
        passed = max(t_ns - self._last_ns, self._clock_ns() - self._at_ns)
        return "refresh" if passed >= self._refresh_ns else "still"

    def behind(self) -> None:
        """The clip was worth it and not encoded: there was no time."""
        self.quiet = False

    def encoded(self, t_ns: int) -> None:
        """The clip that ends at this time was."""
        self._units, self._last_ns, self._at_ns = 0, t_ns, self._clock_ns()
        self._moved, self._settled = False, self._calm >= self._window
        self.quiet = True
