"""How long people wait for jepactl: beside an interpreter that does nothing, in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.live import Live, daemon
from bench.report import Goal, Options, Report, Table

ROUNDS, QUICK_ROUNDS = 200, 40
OTHER_ROUNDS = 8
OTHERS = (
    ("status", "--json"),
    ("predict", "memory"),
    ("streams",),
    ("read", "telemetry"),
    ("top", "--once"),
    ("--help",),
)


def run(options: Options) -> Report:
    """Median ratio of `jepactl status` to `python3 -c pass`, and the other verbs in a table."""
    report = Report()
    with daemon() as live:
        pairs = _pairs(live, QUICK_ROUNDS if options.quick else ROUNDS)
        passes, statuses = zip(*pairs, strict=True)
        ratio = statistics.median(status / empty for empty, status in pairs)
        report.goals.append(
            Goal("jepactl status, in times of python3 -c pass", ratio, "<=", 2.5, "median of pairs")
        )
        rows = [_row("python3 -c pass", passes, passes), _row("jepactl status", statuses, passes)]
        for words in OTHERS:
            times = [_seconds(live, [_tool(live), *words]) for _ in range(OTHER_ROUNDS)]
            rows.append(_row(f"jepactl {' '.join(words)}", times, passes))
    columns = ["command", "median ms", "best ms", "times pass"]
    report.tables.append(Table("whole processes, start to end", columns, rows))
    return report


def _pairs(live: Live, rounds: int) -> list[tuple[float, float]]:
    """(pass, status), one right after the other: what slows the machine slows both."""
    empty, status = [live.python, "-c", "pass"], [_tool(live), "status"]
    for command in (empty, status):
        _seconds(live, command)  # the first start writes byte code
    return [(_seconds(live, empty), _seconds(live, status)) for _ in range(rounds)]


def _seconds(live: Live, command: Sequence[str]) -> float:
    env = {k: v for k, v in live.env.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    # No timeout=: it makes the wait a poll with growing steps, 16 ms wide where we measure.
    # jepactl has deadlines of its own.
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def _tool(live: Live) -> str:
    """The console script that pip installed."""
    tool = Path(live.python).with_name("jepactl")
    if not os.access(tool, os.X_OK):
        raise FileNotFoundError(f"{tool}: not installed. Run: make run")
    return str(tool)


def _row(name: str, times: Sequence[float], passes: Sequence[float]) -> list[str | float]:
    middle = statistics.median(times)
    ratio = middle / statistics.median(passes)
    return [name, middle * 1e3, min(times) * 1e3, ratio]
