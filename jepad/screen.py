"""What `jepad --session` shows where it was started: a live table, or plain lines.

Owns: this terminal. Does not know: the ring, the bus.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence

from jepad.records import Forecast, Risk
from jepad.view import WORTH_A_LINE, risk_line, table

_SHOWN = (1, 3, 5)  # horizons: 4, 64 and 640 steps
_PLAIN_EVERY_S = 10.0


class Screen:
    """Quiet until started; redraws in place on a terminal, prints every 10 s elsewhere."""

    def __init__(self) -> None:
        self._on = False
        self._tty = sys.stdout.isatty()
        self._printed = 0.0

    def start(self, *, live: bool) -> None:
        """Show forecasts from now on, if `live`."""
        self._on = live
        if live and self._tty:
            sys.stdout.write("\033[?1049h\033[?25l")

    def show(
        self, forecast: Forecast, now: Mapping[str, float], risks: Sequence[Risk], state: str
    ) -> None:
        """Draw one tick."""
        if not self._on:
            return
        if not self._tty and time.monotonic() - self._printed < _PLAIN_EVERY_S:
            return
        self._printed = time.monotonic()
        lines = text(forecast, now, risks, state)
        if self._tty:
            lines = ["\033[H" + lines[0], *lines[1:], "Ctrl-C stops; jepactl --session status"]
            sys.stdout.write("\033[K\n".join(lines) + "\033[J")
        else:
            sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()

    def stop(self) -> None:
        """Give the terminal back as it was."""
        if self._on and self._tty:
            sys.stdout.write("\033[?25h\033[?1049l")
            sys.stdout.flush()
        self._on = False


def text(
    forecast: Forecast, now: Mapping[str, float], risks: Sequence[Risk], state: str
) -> list[str]:
    """One forecast as lines: who spoke, the table, the risks worth a line."""
    spoke = f"{forecast.part()} {forecast.model_digest[:12]}".rstrip()
    told = [f"risk: {risk_line(r)}" for r in risks if r.probability >= WORTH_A_LINE]
    return [
        f"jepad: {state}, {forecast.source_n + 1} samples, forecast by {spoke}",
        "",
        *table(forecast, now, _SHOWN),
        "",
        *(told or [f"risk: none above {WORTH_A_LINE:.0%}"]),
    ]


def print_json(summary: Mapping[str, object]) -> None:
    """The result of a run that ended by itself, on stdout."""
    json.dump(summary, sys.stdout, allow_nan=False)
    sys.stdout.write("\n")
