"""How often the model may speak.

Owns: the budget of CPU time a tick has. Does not know what the time is spent on.
"""

from __future__ import annotations

BUDGET_NS = 7_000_000
SLOWEST = 16
_MEMORY = 0.9


class Pace:
    """Every k-th tick, k following from measured cost unless it is fixed."""

    def __init__(self, fixed: int = 0) -> None:
        self._fixed = fixed
        self._model_ns = self._rest_ns = 0.0
        self._since = SLOWEST  # the first tick is due

    @property
    def every(self) -> int:
        """Ticks from one run of the model to the next."""
        if self._fixed:
            return self._fixed
        left = max(BUDGET_NS - self._rest_ns, BUDGET_NS / SLOWEST)
        return max(1, min(SLOWEST, -int(-self._model_ns // left)))

    def due(self) -> bool:
        """Called once a tick: is it the model's turn?"""
        self._since += 1
        if self._since < self.every:
            return False
        self._since = 0
        return True

    @property
    def age(self) -> int:
        """Ticks since the model's turn."""
        return self._since

    def note(self, model_ns: int, rest_ns: int) -> None:
        """CPU time of one run of the model (0: it did not run) and of all else in a tick."""
        if model_ns:
            self._model_ns = _smooth(self._model_ns, model_ns)
        self._rest_ns = _smooth(self._rest_ns, rest_ns)


def _smooth(old: float, new: int) -> float:
    return _MEMORY * old + (1 - _MEMORY) * new if old else float(new)
