"""What `jepad --session` shows where it was started: a live table, or plain lines.

Owns: this terminal. Does not know: the ring, the bus.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from jepad.records import Forecast, Risk
from jepad.view import WORTH_A_LINE, risk_line, table

_SHOWN = (1, 3, 5)  # horizons: 4, 64 and 640 steps
_PLAIN_EVERY_S = 10.0


class Screen:
    """Quiet until started; redraws in place on a terminal, prints every 10 s elsewhere."""

    def __init__(self) -> None:
        self._on = False
        self._tty = sys.stdout.isatty()
        self._fd = sys.stdout.fileno()
        self._printed = float("-inf")

    def start(self, *, live: bool) -> None:
        """Show forecasts from now on, if `live`."""
        self._on = live
        if live and self._tty:
            # A description of our own: Ctrl-S must not stop the ticks, nor we the shell's reads.
            name = os.ttyname(self._fd)
            self._fd = os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            self._write("\033[?1049h\033[?25l\033[?7l")

    def show(self, lines: Callable[[], list[str]]) -> None:
        """Draw one tick."""
        if not self._on:
            return
        if self._tty:
            self._write(_fitted([*lines(), "Ctrl-C stops; jepactl --session status"]))
        elif time.monotonic() - self._printed >= _PLAIN_EVERY_S:
            self._printed = time.monotonic()
            self._write("\n".join(lines()) + "\n")

    def stop(self) -> None:
        """Give the terminal back as it was."""
        if self._on and self._tty:
            os.set_blocking(self._fd, True)
            self._write("\033[?7h\033[?25h\033[?1049l")
            os.close(self._fd)
            self._fd = sys.stdout.fileno()
        self._on = False

    def _write(self, drawn: str) -> None:
        """A terminal that takes no more misses a frame; a reader that left is shown nothing."""
        try:
            os.write(self._fd, drawn.encode())
        except BlockingIOError:
            return
        except OSError:
            self._on = False


def text(
    head: str, forecast: Forecast, now: Mapping[str, float], risks: Sequence[Risk]
) -> list[str]:
    """One forecast as lines: who spoke, the risks worth a line, the table."""
    part = forecast.part()
    spoke = "the baseline" if part == "baseline" else f"{part} {forecast.model_digest[:12]}"
    told = [f"risk: {risk_line(r)}" for r in risks if r.probability >= WORTH_A_LINE]
    return [
        f"{head}, forecast by {spoke}",
        *(told or [f"risk: none above {WORTH_A_LINE:.0%}"]),
        "",
        *table(forecast, now, _SHOWN),
    ]


def print_lines(lines: Sequence[str]) -> None:
    """The result of a run that ended by itself, for a person."""
    sys.stdout.write("\n".join(lines) + "\n")


def print_json(summary: Mapping[str, object]) -> None:
    """The same for a program."""
    json.dump(summary, sys.stdout, allow_nan=False)
    sys.stdout.write("\n")


def _fitted(lines: Sequence[str]) -> str:
    """In place, cut to what the terminal holds."""
    size = os.get_terminal_size(sys.stdout.fileno())
    kept = [line[: size.columns] for line in lines[: size.lines]]
    return "\033[H" + "\033[K\r\n".join(kept) + "\033[K\033[J"
