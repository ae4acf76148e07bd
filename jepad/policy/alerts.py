"""Which risks are told, when, and until when: hysteresis over probabilities.

Owns: raised predictions and their timers. Does not know: where risks come from, who listens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from jepad.config import Risk as Settings
from jepad.records import Risk

#: A busy processor is no failure, so its risk is shown but never raised.
RAISED_DOMAINS = frozenset({"memory", "io"})


@dataclass(frozen=True, slots=True)
class Alert:
    """One raised prediction; `id` is never used twice by one daemon."""

    id: int
    risk: Risk
    raised_t_ns: int


class Alerts:
    """Raises a domain when its risk stays at or above `raise_at` for `hold_s`, clears it when it
    stays below `clear_at` as long. In between, nothing changes: no flapping."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._next = 1
        self._since: dict[str, int] = {}
        self.active: dict[str, Alert] = {}
        self._raised: list[Callable[[Alert], None]] = []
        self._cleared: list[Callable[[Alert], None]] = []

    def subscribe(
        self, on_raised: Callable[[Alert], None], on_cleared: Callable[[Alert], None]
    ) -> None:
        """Call these with each alert from now on."""
        self._raised.append(on_raised)
        self._cleared.append(on_cleared)

    def update(self, risks: Iterable[Risk], t_ns: int) -> None:
        """Take the risks of one tick. A domain that is missing has no data any more: what was
        raised of it is cleared in time, and a new rise starts from nothing."""
        there = list(risks)
        seen = {risk.domain for risk in there}
        gone = [replace(a.risk, probability=0.0) for d, a in self.active.items() if d not in seen]
        for domain in self._since.keys() - seen - self.active.keys():
            del self._since[domain]
        for risk in [*there, *gone]:
            if risk.domain not in RAISED_DOMAINS:
                continue
            if risk.domain in self.active:
                self._maybe_clear(risk, t_ns)
            else:
                self._maybe_raise(risk, t_ns)

    def _maybe_raise(self, risk: Risk, t_ns: int) -> None:
        if not self._lasted(risk.domain, risk.probability >= self.settings.raise_at, t_ns):
            return
        alert = Alert(self._next, risk, t_ns)
        self._next += 1
        self.active[risk.domain] = alert
        for tell in self._raised:
            tell(alert)

    def _maybe_clear(self, risk: Risk, t_ns: int) -> None:
        if not self._lasted(risk.domain, risk.probability < self.settings.clear_at, t_ns):
            self.active[risk.domain] = replace(self.active[risk.domain], risk=risk)
            return
        alert = self.active.pop(risk.domain)
        for tell in self._cleared:
            tell(alert)

    def _lasted(self, domain: str, holds: bool, t_ns: int) -> bool:
        """Whether the condition has held for hold_s; starts and resets its timer."""
        if not holds:
            self._since.pop(domain, None)
            return False
        since = self._since.setdefault(domain, t_ns)
        if t_ns - since < self.settings.hold_s * 1e9:
            return False
        del self._since[domain]
        return True
