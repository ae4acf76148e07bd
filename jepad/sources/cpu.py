"""Where processor time goes, how long the run queue is, how fast tasks come and go.

Owns: /proc/stat and /proc/loadavg. Does not know: which task uses the time.
"""

from __future__ import annotations

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import KernelFile, numbers, whole_lines

_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_EVENTS = ("ctxt", "processes", "procs_running", "procs_blocked", "softirq")
_GAUGES = frozenset({"procs_running", "procs_blocked"})
#: Cores shown one by one: the first few in detail, then busy time alone, then only the sum.
_DETAILED_CORES = 4
_CORES = 32


class Cpu:
    """Time of all cores together and of the first ones each, and scheduler events."""

    name = "cpu"

    def __init__(self, roots: Roots) -> None:
        """Name the two files."""
        self._stat = KernelFile(f"{roots.proc}/stat")
        self._loadavg = KernelFile(f"{roots.proc}/loadavg")
        self._declared: frozenset[str] = frozenset()

    def describe(self) -> tuple[Series, ...]:
        """Absent only where /proc is not mounted."""
        series: list[Series] = []
        for file, parser in ((self._stat, _stat), (self._loadavg, _loadavg)):
            try:
                series += [_series(name) for name in file.parse(parser)]
            except SourceError:
                continue
        self._declared = frozenset(s.name for s in series)
        return tuple(series)

    def read(self) -> dict[str, float]:
        """Ticks and events since boot; the load averages as they are."""
        values = self._stat.parse(_stat)
        values.update(self._loadavg.parse(_loadavg))
        if values.keys() <= self._declared:
            return values
        # A core came online since describe(): it is shown once it has been declared.
        return {name: value for name, value in values.items() if name in self._declared}


def _series(name: str) -> Series:
    if name.startswith("cpu"):
        return Series(name, "tick", "counter")
    if name in _GAUGES or name in {"load1", "load5", "nthreads"}:
        return Series(name, "", "gauge")
    return Series(name, "event", "counter")


def _stat(data: bytes) -> dict[str, float]:
    head, _, tail = whole_lines(data).partition(b"\nintr ")
    lines = head.split(b"\n", _CORES + 1)[: _CORES + 1]
    values: dict[str, float] = {}
    for line in lines:
        fields = line.split()
        core = fields[0].decode("ascii")
        if not core.startswith("cpu"):
            raise ValueError("no cpu line")
        _time(values, core, numbers(fields[1:9]))
    at = tail.index(b"\nctxt ")
    values["intr"] = numbers((tail[: tail.index(b" ")],))[0]
    fields = tail[at:].split()
    found = dict(zip(fields[0:12:2], fields[1:12:2], strict=True))
    values.update(zip(_EVENTS, numbers(found[e.encode()] for e in _EVENTS), strict=True))
    return values


def _time(values: dict[str, float], core: str, ticks: list[float]) -> None:
    """Spread one line's ticks; guest time is already inside user and nice."""
    busy = sum(ticks) - ticks[3] - ticks[4]
    if core == "cpu":
        values.update(zip([f"cpu.{s}" for s in _STATES], ticks, strict=True))
    elif int(core[3:]) < _DETAILED_CORES:
        values[f"{core}.user"] = ticks[0]
        values[f"{core}.system"] = ticks[2]
    values[f"{core}.busy"] = busy


def _loadavg(data: bytes) -> dict[str, float]:
    one, five, _, tasks, _ = whole_lines(data).split()
    threads = tasks.partition(b"/")[2]
    return dict(zip(("load1", "load5", "nthreads"), numbers((one, five, threads)), strict=True))
