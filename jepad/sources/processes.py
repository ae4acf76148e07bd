"""Which tasks use the machine: the name behind "something is eating the memory".

Owns: /proc/<pid>/stat, and what changed since the scan before. A scan opens a file a task, so it
runs every few seconds on a thread (slow.py) and its result is kept.
Does not know: units and slices beyond the cgroup's path.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import numbers, word

_RANKS = 3
#: Tasks kept by top(): so many by memory, by processor and by growth.
_KEPT = 5
_SCANNED = 8192
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Top(NamedTuple):
    """One task that stands out."""

    pid: int
    comm: str
    rss_bytes: int
    cpu_ticks: int  # used since the scan before
    cgroup: str


class _Task(NamedTuple):
    """What a scan keeps of a task; pids are reused, so the start time belongs to its name."""

    pid: int
    comm: str
    started: float
    ticks: float
    rss_bytes: float


class Processes:
    """The biggest, the busiest and the fastest growing tasks."""

    name = "processes"

    def __init__(self, roots: Roots) -> None:
        """Name the directory; two scans make the first differences."""
        self._proc = roots.proc
        self._before: dict[tuple[int, float], _Task] = {}
        self._at_s = 0.0
        self._top: tuple[Top, ...] = ()
        self._growth: tuple[tuple[Top, float], ...] = ()

    def top(self) -> list[Top]:
        """Tasks that stood out in the newest scan, most memory first."""
        return list(self._top)

    def growth(self) -> list[tuple[Top, float]]:
        """Tasks that grew between the newest two scans and their bytes per second."""
        return list(self._growth)

    def describe(self) -> tuple[Series, ...]:
        """Always there; absent only without /proc."""
        if not _pids(self._proc):
            return ()
        ranks = range(_RANKS)
        return (
            *(Series(f"proc.{rank}.rss", "B", "gauge") for rank in ranks),
            *(Series(f"proc.{rank}.cpu", "%", "gauge") for rank in ranks),
            Series("nproc", "", "gauge"),
            Series("proc.growth", "B/s", "gauge"),
        )

    def read(self) -> dict[str, float]:
        """Scan: by rank the memory held and the share of a core used; the fastest growth."""
        tasks = [task for task in map(self._task, _pids(self._proc)) if task]
        if not tasks:
            raise SourceError(f"{self._proc}: no task could be read")
        biggest = sorted((task.rss_bytes for task in tasks), reverse=True)
        values = {f"proc.{rank}.rss": held for rank, held in enumerate(biggest[:_RANKS])}
        values["nproc"] = float(len(tasks))
        return values | self._compare(tasks)

    def _compare(self, tasks: list[_Task]) -> dict[str, float]:
        """What changed since the scan before; nothing yet after the first."""
        now_s = time.monotonic()
        elapsed_s, self._at_s = max(now_s - self._at_s, 1e-3), now_s
        before, self._before = self._before, {(task.pid, task.started): task for task in tasks}
        # A task seen for the first time has no difference yet: its past belongs to no interval.
        old = {task.pid: before.get((task.pid, task.started), task) for task in tasks}
        ticks = {task.pid: task.ticks - old[task.pid].ticks for task in tasks}
        grown = {task.pid: (task.rss_bytes - old[task.pid].rss_bytes) / elapsed_s for task in tasks}
        self._keep(tasks, ticks, grown)
        if not before:
            return {}
        busiest = sorted(ticks.values(), reverse=True)[:_RANKS]
        shares = {
            f"proc.{rank}.cpu": 100.0 * used / _TICKS / elapsed_s
            for rank, used in enumerate(busiest)
        }
        return shares | {"proc.growth": max(grown.values())}

    def _keep(self, tasks: list[_Task], ticks: dict[int, float], grown: dict[int, float]) -> None:
        """Remember the tasks that stand out, with their cgroup: only these are worth a read."""
        by_memory = sorted(tasks, key=lambda t: -t.rss_bytes)[:_KEPT]
        by_cpu = [t for t in sorted(tasks, key=lambda t: -ticks[t.pid])[:_KEPT] if ticks[t.pid]]
        by_growth = sorted(tasks, key=lambda t: -grown[t.pid])[:_KEPT]
        by_growth = [t for t in by_growth if grown[t.pid] > 0]
        tops = {
            t.pid: Top(t.pid, t.comm, int(t.rss_bytes), int(ticks[t.pid]), self._cgroup(t.pid))
            for t in {*by_memory, *by_cpu, *by_growth}
        }
        self._top = tuple(sorted(tops.values(), key=lambda t: -t.rss_bytes))
        self._growth = tuple((tops[t.pid], grown[t.pid]) for t in by_growth)

    def _task(self, pid: int) -> _Task | None:
        """The task, or None when it ended since the listing or shows something else."""
        data = _slurp(f"{self._proc}/{pid}/stat")
        start, end = data.find(b"("), data.rfind(b")")
        fields = data[end + 2 :].split()
        if start < 0 or len(fields) < 22:
            return None
        try:
            utime, stime, started, pages = numbers((fields[11], fields[12], fields[19], fields[21]))
        except ValueError:
            return None
        # A task may call itself anything, newlines and escapes included.
        comm = word(data[start + 1 : end].decode("utf-8", "replace"))
        return _Task(pid, comm, started, utime + stime, pages * _PAGE_BYTES)

    def _cgroup(self, pid: int) -> str:
        """Path in the memory controller's hierarchy, else in the unified one; "" when ended."""
        unified = ""
        for line in _slurp(f"{self._proc}/{pid}/cgroup").decode("utf-8", "replace").split("\n"):
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if "memory" in controllers.split(","):
                return word(path)
            if not controllers:
                unified = unified or word(path)
        return unified


def _pids(proc: str) -> list[int]:
    try:
        return [int(n) for n in os.listdir(proc) if n.isascii() and n.isdecimal()][:_SCANNED]
    except OSError:
        return []


def _slurp(path: str) -> bytes:
    """A small file of a task; b"" when it ended meanwhile, as tasks do all the time."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""
    finally:
        os.close(fd)
