"""How much one user may ask in how much time.

Owns: a token bucket for each uid. Does not know: what is asked, or through which door.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from jepad.errors import RateLimited

MAX_BUCKETS = 1024  # uids are not free to invent, so the oldest can go


@dataclass(frozen=True, slots=True)
class Budget:
    """`burst` calls at once, then `rate` a second."""

    burst: float = 3000.0
    rate: float = 200.0


class Limits:
    """A token bucket for each uid."""

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget = budget
        self._clock = clock
        self._buckets: OrderedDict[int, tuple[float, float]] = OrderedDict()  # tokens, at

    def spend(self, uid: int, cost: float = 1.0) -> None:
        """Take `cost` tokens of a user's, or raise RateLimited with the time to wait."""
        now = self._clock()
        budget = self._budget
        tokens, at = self._buckets.get(uid, (budget.burst, now))
        tokens = min(budget.burst, tokens + (now - at) * budget.rate)
        left = tokens - cost
        self._buckets[uid] = (left if left >= 0 else tokens, now)
        self._buckets.move_to_end(uid)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if left < 0:
            wait_s = -left / budget.rate
            raise RateLimited(
                f"too many calls from uid {uid}: {budget.rate / cost:g} a second of this kind"
                " are served."
                f" retry-after: {max(wait_s, 0.01):.2f} s"
            )
