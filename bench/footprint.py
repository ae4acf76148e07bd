"""What jepad costs the machine it watches: memory and CPU of daemon and engine at 1 Hz."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.live import Live, daemon
from bench.report import Cell, Goal, Options, Report, Table
from jepad.paths import Roots
from jepad.sources.registry import build
from jepad.sources.slow import Slow
from jepad.sources.snapshot import Snapshot

_HZ = os.sysconf("SC_CLK_TCK")


def run(options: Options) -> Report:
    """PSS and CPU share of the two processes, and CPU time of one snapshot of all sources."""
    report = Report()
    with daemon() as live:
        time.sleep(10 if options.quick else 90)  # past the start, and the model past its warm-up
        _processes(live, 15.0 if options.quick else 120.0, report)
    _snapshot(report)
    return report


def _processes(live: Live, seconds: float, report: Report) -> None:
    engines = [p for p in live.children() if b"jepad.engine" in _read(p, "cmdline")]
    pids = dict(zip(("daemon", "engine"), [live.pid, *engines], strict=False))
    before = {name: _ticks(pid) for name, pid in pids.items()}
    start = time.monotonic()
    time.sleep(seconds)
    wall = time.monotonic() - start
    cpu = {n: (_ticks(pid) - before[n]) / _HZ / wall * 100 for n, pid in pids.items()}
    pss = {name: _pss_mb(pid) for name, pid in pids.items()}
    both = len(pids) == 2
    report.goals += [
        Goal("PSS of daemon and engine, MB", sum(pss.values()) if both else None, "<=", 120),
        Goal("CPU at 1 Hz, % of one core", sum(cpu.values()) if both else None, "<=", 1.5),
    ]
    rows: list[list[Cell]] = [[n, pss[n], _rss_mb(pids[n]), cpu[n]] for n in pids]
    report.tables.append(Table("processes", ["process", "PSS MB", "RSS MB", "CPU %"], rows))


def _snapshot(report: Report, rounds: int = 300) -> None:
    # What has a thread of its own in the daemon is read in line here: all of it counts.
    inline = [s.source if isinstance(s, Slow) else s for s in build(Roots())]
    snapshot = Snapshot(inline)
    for _ in range(20):
        snapshot.take()
    start = time.process_time()
    for _ in range(rounds):
        snapshot.take()
    ms = (time.process_time() - start) / rounds * 1e3
    report.goals.append(Goal("CPU of one snapshot of all sources, ms", ms, "<=", 3.0))
    rows: list[list[Cell]] = [
        [s.name, s.state, s.series, s.duration_s * 1e3] for s in snapshot.states
    ]
    report.tables.append(Table("sources", ["source", "state", "series", "last ms"], rows))


def _read(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def _ticks(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[11]) + int(fields[12])


def _pss_mb(pid: int) -> float:
    return _kib(pid, b"Pss:") / 1024


def _rss_mb(pid: int) -> float:
    return _kib(pid, b"Rss:") / 1024


def _kib(pid: int, key: bytes) -> int:
    for line in _read(pid, "smaps_rollup").splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise RuntimeError(f"no {key!r} in /proc/{pid}/smaps_rollup")
