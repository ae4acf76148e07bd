"""Work of a worker's loop that is due now and then.

Owns: when. Does not know what.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Every:
    """Does something at most once a period; never for a period of 0."""

    def __init__(self, period_s: float, act: Callable[[], object], last: float = -math.inf) -> None:
        self._period_s, self._act = period_s, act
        self._last = last

    def maybe(self) -> None:
        """Do it if it is time."""
        now = time.monotonic()
        if self._period_s and now - self._last >= self._period_s:
            self._last = now
            self._act()
