"""How often the model may speak.

Owns: the budget of CPU time a tick has. Does not know what the time is spent on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

BUDGET_NS = 7_000_000
#: Powers of two: a forecast is then checked at horizons 4, 16 and 64 whatever the pace.
PACES = (1, 2, 4, 8, 16)
_KEPT = 9


class Pace:
    """Every k-th tick, k following from measured cost unless it is fixed."""

    def __init__(self, fixed: int = 0) -> None:
        self._fixed = fixed
        self._model_ns: deque[int] = deque(maxlen=_KEPT)
        self._rest_ns: deque[int] = deque(maxlen=_KEPT)
        self._since = PACES[-1]  # the first tick is due

    @property
    def every(self) -> int:
        """Ticks from one run of the model to the next."""
        if self._fixed:
            return self._fixed
        left = BUDGET_NS - _usual(self._rest_ns)
        cost = _usual(self._model_ns)
        return next((k for k in PACES if cost <= k * left), PACES[-1])

    def due(self) -> bool:
        """Called once a tick: is it the model's turn?"""
        self._since += 1
        if self._since < self.every:
            return False
        self._since = 0
        return True

    def stats(self) -> dict[str, float]:
        """For whoever asks."""
        return {
            "model_every": self.every,
            "model_cpu_ms": _usual(self._model_ns) / 1e6,
            "tick_cpu_ms": _usual(self._rest_ns) / 1e6,
        }

    def note(self, model_ns: int, rest_ns: int) -> None:
        """CPU time of one run of the model (0: it did not run) and of all else in a tick."""
        if model_ns:
            self._model_ns.append(model_ns)
        self._rest_ns.append(rest_ns)


def _usual(spent: Sequence[int]) -> int:
    """The median: the first run, cold, and a rare long one say little."""
    return sorted(spent)[len(spent) // 2] if spent else 0
