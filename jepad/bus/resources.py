"""org.jepad1.Resource: risks of this machine's resources, told when raised and cleared.

Owns: the shape of these answers, and the pace of the signals. Does not know: when to raise.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from jepad.bus import schema
from jepad.bus.dispatch import Adapter
from jepad.bus.seam import Variant
from jepad.bus.usecases import Alert, Service
from jepad.bus.variants import clean
from jepad.paths import OBJECT_PATH
from jepad.records import Risk

PATH = f"{OBJECT_PATH}/resource"
INTERFACE = "org.jepad1.Resource"
NEVER_USEC = 2**64 - 1
INTERVAL_S = 1.0
MAX_WAITING = 64

Emit = Callable[..., None]  # (member, *arguments)
CallLater = Callable[[float, Callable[[], None]], asyncio.TimerHandle]


def adapter(service: Service) -> Adapter:
    """The interface over a service."""
    return Adapter(
        schema.load(INTERFACE),
        methods={},
        getters={
            "Risks": lambda: {r.domain: _row(r) for r in service.risks()},
            "Forecasts": lambda: [list(row) for row in service.forecasts()],
        },
    )


class AlertSignals:
    """PredictionRaised and PredictionCleared, at most one a second; what was raised and cleared
    while it waited for its turn was nothing, and is not told."""

    def __init__(self, emit: Emit, call_later: CallLater) -> None:
        self._emit = emit
        self._call_later = call_later
        self._waiting: deque[tuple[str, Alert]] = deque(maxlen=MAX_WAITING)
        self._timer: asyncio.TimerHandle | None = None

    def raised(self, alert: Alert) -> None:
        """A prediction was raised."""
        self._put("PredictionRaised", alert)

    def cleared(self, alert: Alert) -> None:
        """A prediction was cleared."""
        waiting = next((w for w in self._waiting if w[1].id == alert.id), None)
        if waiting:
            self._waiting.remove(waiting)
        else:
            self._put("PredictionCleared", alert)

    def close(self) -> None:
        """Tell no more."""
        self._waiting.clear()
        if self._timer:
            self._timer.cancel()

    def _put(self, member: str, alert: Alert) -> None:
        self._waiting.append((member, alert))
        if self._timer is None:
            self._next()

    def _next(self) -> None:
        self._timer = None
        if self._waiting:
            member, alert = self._waiting.popleft()
            self._emit(member, *_arguments(member, alert))
            self._timer = self._call_later(INTERVAL_S, self._next)


def _arguments(member: str, alert: Alert) -> list[object]:
    path = f"{OBJECT_PATH}/prediction/{alert.id}"
    if member == "PredictionCleared":
        return [path]
    risk = alert.risk
    why = {
        "unit": Variant("s", clean(risk.unit)),
        "cause": Variant("s", clean(risk.cause)),
        "horizon_usec": Variant("t", _usec(risk.horizon_s)),
        "evidence": Variant("a{sd}", dict(risk.evidence)),
    }
    return [path, risk.domain, risk.probability, _usec(risk.eta_s), why]


def _row(risk: Risk) -> list[object]:
    return [risk.probability, _usec(risk.eta_s), clean(risk.unit), clean(risk.cause)]


def _usec(seconds: float) -> int:
    if not math.isfinite(seconds):
        return NEVER_USEC
    return min(NEVER_USEC, max(0, int(seconds * 1e6)))
