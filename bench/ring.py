"""The shared-memory ring beside memcpy, sockets, ZeroMQ and D-Bus, as ratios within one run.

Rows are those of the ring's table of promises: speed of publishing and reading, wake-up of a
Python reader, publishing under a crowd, torn reads, killed writers, mutated objects.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from bench.peers import FRAME_PEERS, SMALL_PEERS
from bench.report import Cell, Goal, Options, Report, Table
from bench.wake import Job, Wakes, wakes

LIB = Path(__file__).parents[1] / "libjepad"
SMALL = 4096
FRAME = 1280 * 720 * 3
#: p50 of the ring over p50 of the peer, at most.
SMALL_GOALS = {"unix seqpacket": 1.2, "iceoryx2": 0.6, "pyzmq ipc": 0.25, "D-Bus signal": 0.1}
FRAME_GOALS = {"unix stream": 0.5, "iceoryx2": 0.7, "pyzmq ipc": 0.3}


class Programs:
    """libjepad's test programs, built in a directory of their own; they answer in JSON."""

    def __init__(self, build: str, names: list[str]) -> None:
        self._build = Path(build)
        make = ["make", "-s", "-j2", "-C", str(LIB), f"BUILD={build}"]
        subprocess.run([*make, *(f"{build}/{n}" for n in names)], check=True, timeout=180)

    def run(self, name: str, *args: object) -> dict[str, float]:
        """One program to its end; it fails when it found what must not be."""
        argv = [str(self._build / name), *map(str, args)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
        if not done.stdout:
            raise RuntimeError(f"{name}: {done.stderr}")
        out: dict[str, float] = json.loads(done.stdout)
        return out


def run(options: Options) -> Report:
    """Rows 1, 2, 3, 6 and 7; the full run adds 4, 5 and 8."""
    report = Report()
    with tempfile.TemporaryDirectory() as build:
        names = ["rates", "torn", "kill"] + ([] if options.quick else ["mutate"])
        programs = Programs(build, names)
        _copies(programs, 101 if options.quick else 1001, report)
        small = Job(SMALL, 800 if options.quick else 4000, build)
        _wake("4 KiB", wakes(small, SMALL_PEERS), SMALL_GOALS, report)
        if not options.quick:
            frame = wakes(Job(FRAME, 500, build), FRAME_PEERS)
            _wake("a 720p frame", frame, FRAME_GOALS, report)
            _crowd(programs, report)
        _torn(programs, report)
        _kills(programs, report)
        if not options.quick:
            _mutants(programs, report)
    return report


def _copies(programs: Programs, blocks: int, report: Report) -> None:
    sizes = (SMALL, 1 << 16, FRAME)
    modes = ("publish", "publish-clock", "read")
    speed = {
        # A block is two frames only: more of them, for as steady a figure.
        m: [programs.run("rates", m, s, blocks * (5 if s == FRAME else 1))["ratio"] for s in sizes]
        for m in modes
    }
    title = "publish / memcpy into shared memory, speed, slowest of 4 KiB, 64 KiB, 2.76 MB"
    note = "time stamp by the caller; the table has it read inside too"
    report.goals += [
        Goal(title, min(speed["publish"]), ">=", 0.90, note),
        Goal("read + validate / memcpy, speed, 720p frame", speed["read"][2], ">=", 0.95),
        Goal("read + validate / memcpy, speed, 4 KiB", speed["read"][0], ">=", 0.70),
    ]
    rows: list[list[Cell]] = [[m, *ratios] for m, ratios in speed.items()]
    report.tables.append(Table("speed beside memcpy", ["", "4 KiB", "64 KiB", "2.76 MB"], rows))


def _wake(what: str, found: Wakes, goals: dict[str, float], report: Report) -> None:
    ring = found.p50_us["ring"]
    for peer, limit in goals.items():
        p50 = found.p50_us.get(peer)
        value = ring / p50 if p50 else None
        title = f"Python-to-Python wake p50, {what}, ring / {peer}"
        report.goals.append(Goal(title, value, "<=", limit, found.notes.get(peer, "")))
    rows: list[list[Cell]] = [[peer, p50, found.p90_us[peer]] for peer, p50 in found.p50_us.items()]
    report.tables.append(Table(f"wake, {what}", ["transport", "p50 us", "p90 us"], rows))


def _crowd(programs: Programs, report: Report) -> None:
    rows: list[list[Cell]] = []
    for threads, limit in ((64, 1.1), (4000, 1.2)):
        out = programs.run("rates", "crowd", threads, 10_000)
        ratio = out["crowd_p99"] / out["alone_p99"]
        title = f"publish + kick p99 with {threads} waiters / with none"
        report.goals.append(Goal(title, ratio, "<=", limit))
        rows.append(
            [threads, out["alone_p50"], out["alone_p99"], out["crowd_p50"], out["crowd_p99"]]
        )
    columns = ["waiters", "alone p50 ns", "alone p99 ns", "crowd p50 ns", "crowd p99 ns"]
    report.tables.append(Table("publishing before a crowd", columns, rows))


def _torn(programs: Programs, report: Report) -> None:
    out = programs.run("torn", 8, 10_000_000, 1000)
    report.goals += [
        Goal("torn reads undetected, 8 readers on 2 slots", out["torn_undetected"], "==", 0),
        Goal("reads validated meanwhile", out["validated"], ">=", 1e7),
        Goal("truly torn ones rejected", out["torn_rejected"], ">=", 1e3),
    ]


def _kills(programs: Programs, report: Report) -> None:
    out = programs.run("kill", 30)
    kills = out["kills"] + out["creation_kills"]
    report.goals.append(Goal("kills of the writer, at eleven points", kills, ">=", 210))
    report.goals += [
        Goal(f"{what} after them", out[key], "==", 0)
        for what, key in (
            ("bad reads", "bad"),
            ("epoch regressions", "regressions"),
            ("remapped readers", "remaps"),
        )
    ]


def _mutants(programs: Programs, report: Report) -> None:
    count = 2_000_000
    done = programs.run("mutate", count)["mutants"]
    title = "crashes of the reader on mutated objects under ASan and UBSan"
    note = f"{done:.0f} mutants; a crash ends the bench"
    report.goals.append(Goal(title, count - done, "==", 0, note))
