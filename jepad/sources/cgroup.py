"""What the biggest control groups use, so that a shortage has a name.

Owns: /sys/fs/cgroup, the unified hierarchy or the v1 controllers where that is what there is.
Does not know: systemd's view of the units, or how to limit one.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from dataclasses import dataclass

from jepad.paths import Roots
from jepad.records import Semantics, Series
from jepad.sources.source import (
    SILENT,
    KernelFile,
    answers,
    number,
    numbers,
    read_each,
    whole_lines,
    word,
)

_GROUPS = 6
_DEPTH = 3
#: Directories looked into at most when choosing: a node full of containers has thousands.
_VISITS = 512
#: A group that ended between two looks is no failure.
_GONE = SILENT | {errno.ENOENT}


@dataclass(frozen=True, slots=True)
class _Field:
    """One series of a group: where it stands and how it is read."""

    name: str
    unit: str
    semantics: Semantics
    controller: str  # directory below the root: v1 has one tree a controller
    file: str
    parser: Callable[[bytes], float]


def _usage_us(data: bytes) -> float:
    fields = whole_lines(data).split()
    return numbers((fields[fields.index(b"usage_usec") + 1],))[0]


def _stalled_us(data: bytes) -> float:
    return numbers((whole_lines(data).split(b"\n")[0].rpartition(b"total=")[2],))[0]


def _io_v2(data: bytes) -> float:
    """Bytes read and written on all disks; an idle group has an empty file."""
    fields = data.split()
    moved = numbers(f[7:] for f in fields if f.startswith((b"rbytes=", b"wbytes=")))
    return math.fsum(moved)


def _io_v1(data: bytes) -> float:
    return numbers((whole_lines(data).split()[-1],))[0]


_V2 = (
    _Field("memory_current", "B", "gauge", "", "memory.current", number),
    _Field("cpu_usage", "us", "counter", "", "cpu.stat", _usage_us),
    _Field("memory_pressure", "us", "counter", "", "memory.pressure", _stalled_us),
    _Field("io_bytes", "B", "counter", "", "io.stat", _io_v2),
)
_V1 = (
    _Field("memory_current", "B", "gauge", "memory", "memory.usage_in_bytes", number),
    _Field("cpu_usage", "us", "counter", "cpuacct", "cpuacct.usage", lambda d: number(d) / 1e3),
    _Field(
        "io_bytes", "B", "counter", "blkio", "blkio.throttle.io_service_bytes_recursive", _io_v1
    ),
)


class Cgroup:
    """The groups that hold most memory beyond what their children hold, at most 3 levels down."""

    name = "cgroup"

    def __init__(self, roots: Roots) -> None:
        """Name the mount."""
        self._mount = f"{roots.sys}/fs/cgroup"
        self._chosen: list[str] = []
        self._readers: dict[str, Callable[[], float]] = {}

    def describe(self) -> tuple[Series, ...]:
        """Choose the groups; absent where no memory controller is mounted."""
        unified = os.path.exists(f"{self._mount}/cgroup.controllers")
        fields = _V2 if unified else _V1
        self._chosen = _choose(_held(self._mount, fields[0]), self._chosen)
        readers: dict[str, Callable[[], float]] = {}
        series: list[Series] = []
        for group in self._chosen:
            for field in fields:
                reader = _reader(self._mount, group, field)
                name = f"cgroup.{word(group)}.{field.name}"
                if name not in readers and answers(reader):
                    readers[name] = reader
                    series.append(Series(name, field.unit, field.semantics))
        self._readers = readers
        return tuple(series)

    def read(self) -> dict[str, float]:
        """Use now; groups that ended are left out until the next describe()."""
        return read_each(self._readers, _GONE)


def _reader(mount: str, group: str, field: _Field) -> Callable[[], float]:
    path = os.path.join(mount, field.controller, group, field.file)
    file = KernelFile(path, empty_ok=field.file == "io.stat")
    return lambda: file.parse(field.parser)


def _held(mount: str, field: _Field) -> dict[str, float]:
    """Bytes each group holds beyond its children, breadth first from the root."""
    root = os.path.join(mount, field.controller)
    own: dict[str, float] = {}
    queue = [("", 0)]
    for group, depth in queue:
        if depth:
            reader = _reader(mount, group, field)
            if not answers(reader):
                continue
            own[group] = reader()
            parent = os.path.dirname(group)
            if parent in own:
                own[parent] -= own[group]
        if depth < _DEPTH and len(queue) < _VISITS:
            queue += [(os.path.join(group, c), depth + 1) for c in _children(f"{root}/{group}")]
    return own


def _children(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))[:_VISITS]
    except OSError:
        return []


def _choose(held: dict[str, float], before: list[str]) -> list[str]:
    """The biggest; one chosen before stays while it is half-way big, so the schema is stable."""
    ranked = sorted((g for g in held if held[g] > 0), key=lambda g: -held[g])
    stay = [g for g in before if g in ranked[: 2 * _GROUPS]]
    return sorted((stay + [g for g in ranked if g not in stay])[:_GROUPS])
