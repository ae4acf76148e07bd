"""Control groups of the gym on this machine: cgroup v1 controllers, PSI through the v2 hierarchy.

Owns: making, limiting, acting on, reading and removing the groups of a session, those of a
dead run too. Does not know: what runs in them, or when something is done to them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from jepad.errors import SettingError, SourceError
from jepad.records import Semantics, Series
from jepad.sources.source import KernelFile, answers, number, numbers, read_each, whole_lines, word

MOUNT = "/sys/fs/cgroup"
CONTROLLERS = ("memory", "cpu", "cpuacct", "freezer", "blkio")
#: Where PSI of a group stands beside v1 controllers.
UNIFIED = "unified"
TREES = (*CONTROLLERS, UNIFIED)
#: What of v1 stood for which action; part of every native episode's `kernel`.
STOOD_FOR = (
    "cgroup v1: memory.high=memory.limit_in_bytes (no lower than what can't be reclaimed), "
    "memory.low=memory.soft_limit_in_bytes (0 before), cpu.weight=cpu.shares*100/1024, "
    "freeze/thaw=freezer.state, drop_caches=1 (page cache only); group PSI from cgroup2"
)
_MIB = 1 << 20
_PERIOD_US = 100_000
#: All units together get so many cores and so little weight: this machine has other users.
_CORES = 0.9
_SHARES = 1024
#: Left above what can't be reclaimed, so that a squeeze stalls and doesn't kill.
_ROOM = 48 * _MIB
_PATIENCE_S = 20.0


def check() -> None:
    """SettingError where the native floor can't stand, with what is missing."""
    if os.geteuid():
        raise SettingError("needs root and a writable cgroup hierarchy: run it as root")
    for tree in CONTROLLERS:
        if not os.access(f"{MOUNT}/{tree}/cgroup.procs", os.W_OK):
            raise SettingError(
                f"needs root and a writable cgroup hierarchy: no v1 controller {tree!r} at "
                f"{MOUNT}/{tree}; where all is cgroup v2, record with --floor guest"
            )
    if not os.path.exists(f"{MOUNT}/{UNIFIED}/cgroup.procs"):
        raise SettingError(f"needs a cgroup2 hierarchy for PSI at {MOUNT}/{UNIFIED}: mount one")


def _put(path: str, value: str) -> None:
    with open(path, "w") as f:
        f.write(value)


@dataclass(frozen=True, slots=True)
class Group:
    """One control group, the same path in every tree."""

    name: str  # below each tree, as in series names

    def path(self, tree: str, file: str = "") -> str:
        """A file of the group in one of the trees."""
        return os.path.join(MOUNT, tree, self.name, file)

    @property
    def doors(self) -> list[str]:
        """Who writes 0 to these is in the group."""
        return [self.path(tree, "cgroup.procs") for tree in TREES]

    def make(self, memory_bytes: int, cores: float) -> None:
        """Create it with its limits; no limit of memory for 0."""
        for tree in TREES:
            os.makedirs(self.path(tree), exist_ok=True)
        # A quota may not pass the parent's, and a soft limit of 0 is memory.low's default.
        _put(self.path("cpu", "cpu.cfs_period_us"), str(_PERIOD_US))
        _put(self.path("cpu", "cpu.cfs_quota_us"), str(int(cores * _PERIOD_US)))
        _put(self.path("memory", "memory.soft_limit_in_bytes"), "0")
        if memory_bytes:
            _put(self.path("memory", "memory.limit_in_bytes"), str(memory_bytes))

    def act(self, kind: str, value: float) -> float:
        """Do it; the value that was really set."""
        if kind == "memory.high":
            return self._squeeze(int(value))
        if kind == "memory.low":
            _put(self.path("memory", "memory.soft_limit_in_bytes"), str(int(value)))
        elif kind == "cpu.weight":
            _put(self.path("cpu", "cpu.shares"), str(max(2, round(value * 10.24))))
        elif kind in ("freeze", "thaw"):
            _put(self.path("freezer", "freezer.state"), "FROZEN" if kind == "freeze" else "THAWED")
        else:
            raise ValueError(f"no action {kind!r} on a group")
        return value

    def _squeeze(self, wanted: int) -> float:
        """Lower (or raise) the limit; more than asked where the kernel can't reclaim so much."""
        limit = max(wanted, self._held() + _ROOM)
        for _ in range(8):
            try:
                _put(self.path("memory", "memory.limit_in_bytes"), str(limit))
                break
            except OSError:
                limit = limit * 5 // 4
        return self._number("memory", "memory.limit_in_bytes")

    def _held(self) -> int:
        """Bytes that have nowhere to go without swap."""
        with open(self.path("memory", "memory.stat")) as f:
            stat = dict(line.split() for line in f)
        return sum(int(stat.get(key, 0)) for key in ("rss", "shmem", "unevictable"))

    def _number(self, tree: str, file: str) -> float:
        with open(self.path(tree, file)) as f:
            return float(f.read())

    def kills(self) -> float:
        """Tasks the kernel killed here for want of memory."""
        data = KernelFile(self.path("memory", "memory.oom_control")).parse(whole_lines).split()
        return float(data[data.index(b"oom_kill") + 1])

    def remove(self) -> None:
        """Thaw it, end what is in it and take it away; SettingError if it stays."""
        end = time.monotonic() + _PATIENCE_S
        while not self._gone():
            if time.monotonic() > end:
                raise SettingError(f"{self.path('memory')}: can't be removed, something lives on")
            time.sleep(0.05)

    def _gone(self) -> bool:
        with contextlib.suppress(OSError):
            self.act("thaw", 0.0)
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for tree in TREES:
            with contextlib.suppress(OSError):
                os.rmdir(self.path(tree))
        return not any(os.path.exists(self.path(tree)) for tree in TREES)

    def _pids(self) -> set[int]:
        found: set[int] = set()
        for door in self.doors:
            with contextlib.suppress(OSError), open(door) as f:
                found.update(int(line) for line in f)
        return found - {0}


def sweep(prefix: str) -> None:
    """Remove every group below `prefix`: those of a run that was killed."""
    names: set[str] = set()
    for tree in TREES:
        with contextlib.suppress(OSError), os.scandir(Group(prefix).path(tree)) as entries:
            names.update(e.name for e in entries if e.is_dir())
    for name in sorted(names):
        Group(f"{prefix}/{name}").remove()
    Group(prefix).remove()


@contextlib.contextmanager
def below(prefix: str) -> Iterator[None]:
    """The parent of the units, for as long as a session lasts."""
    sweep(prefix)
    parent = Group(prefix)
    try:
        parent.make(0, _CORES)
        _put(parent.path("cpu", "cpu.shares"), str(_SHARES))
        _count_io(parent)
        yield
    finally:
        sweep(prefix)


def _count_io(parent: Group) -> None:
    """The kernel counts a disk's bytes by group once some limit stands: one that nothing meets."""
    for disk in os.listdir("/sys/block"):
        with contextlib.suppress(OSError), open(f"/sys/block/{disk}/dev") as f:
            path = parent.path("blkio", "blkio.throttle.read_bps_device")
            _put(path, f"{f.read().strip()} {1 << 50}")


def _pressed(data: bytes) -> float:
    return numbers((whole_lines(data).split(b"\n")[0].rpartition(b"total=")[2],))[0]


def _moved(data: bytes) -> float:
    return numbers((whole_lines(data).split()[-1],))[0]


_FIELDS: tuple[tuple[str, str, Semantics, str, str, Callable[[bytes], float]], ...] = (
    ("memory_current", "B", "gauge", "memory", "memory.usage_in_bytes", number),
    ("cpu_usage", "us", "counter", "cpuacct", "cpuacct.usage", lambda d: number(d) / 1e3),
    ("io_bytes", "B", "counter", "blkio", "blkio.throttle.io_service_bytes", _moved),
    ("memory_pressure", "us", "counter", UNIFIED, "memory.pressure", _pressed),
    ("cpu_pressure", "us", "counter", UNIFIED, "cpu.pressure", _pressed),
    ("io_pressure", "us", "counter", UNIFIED, "io.pressure", _pressed),
)


class Groups:
    """Telemetry of given groups, named as the daemon's cgroup source names them."""

    name = "cgroup"

    def __init__(self, groups: Sequence[Group]) -> None:
        """Which groups; they must exist by the first describe()."""
        self._groups = groups
        self._readers: dict[str, Callable[[], float]] = {}

    def describe(self) -> tuple[Series, ...]:
        """Six series a group, but for what this kernel doesn't have."""
        series: list[Series] = []
        for group in self._groups:
            for name, unit, semantics, tree, file, parser in _FIELDS:
                reader = _reader(group.path(tree, file), parser)
                if answers(reader):
                    series.append(Series(f"cgroup.{word(group.name)}.{name}", unit, semantics))
                    self._readers[series[-1].name] = reader
        return (*series, Series("label.oom_kills", "event", "counter"))

    def read(self) -> dict[str, float]:
        """All of them now, and how often the kernel killed in them."""
        try:
            kills = sum(group.kills() for group in self._groups)
        except (ValueError, IndexError) as error:
            raise SourceError(f"memory.oom_control: {error}") from error
        return {**read_each(self._readers), "label.oom_kills": kills}


def _reader(path: str, parser: Callable[[bytes], float]) -> Callable[[], float]:
    file = KernelFile(path)
    return lambda: file.parse(parser)
