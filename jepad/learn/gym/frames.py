"""Frames of raw kernel files, as a guest ships them, turned into an episode's rows.

Owns: the frames' format, the tree on tmpfs that the same sources read as everywhere, the label
columns, the trace file. Does not know: what a kernel file means, or how a guest is run.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.records import Floats, Series
from jepad.sources import registry
from jepad.sources.record import TraceWriter
from jepad.sources.snapshot import Snapshot

#: Sources that can say something about a guest: those whose files the agent ships.
SOURCES = ("cpu", "memory", "vmstat", "psi", "disk", "files", "cgroup")
_HEAD = re.compile(rb"FRAME (\d+) (\d+)\n")
_FILE = re.compile(rb"(/[\x21-\x7e]{1,120}) (\d{1,7})\n")
_LABELS = (
    Series("label.oom_kills", "event", "counter"),
    Series("label.restarts", "event", "counter"),
    Series("label.ops", "event", "counter"),
    Series("label.latency_us", "us", "gauge"),
    Series("label.workload", "", "gauge"),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """The files of one tick as the guest's kernel gave them; the clock is the guest's own."""

    t_ns: int
    files: dict[str, bytes]


def split(data: bytes) -> tuple[list[Frame], int]:
    """The whole frames in `data`, and how many bytes of it they and what came before them take.

    Raises SourceError when bytes between frames are no frame: a guest is not to be trusted."""
    frames: list[Frame] = []
    at = 0
    while (head := _HEAD.match(data, at)) is not None:
        files, end = _files(data, head.end(), int(head[2]))
        if files is None:
            break
        frames.append(Frame(int(head[1]), files))
        at = end
    if not frames and len(data) - at > 40 and _HEAD.match(data, at) is None:
        raise SourceError(f"a guest's frames: no frame but {data[at : at + 20]!r}")
    return frames, at


def _files(data: bytes, at: int, count: int) -> tuple[dict[str, bytes] | None, int]:
    files: dict[str, bytes] = {}
    for _ in range(count):
        head = _FILE.match(data, at)
        if head is None:
            if len(data) - at > 140:
                raise SourceError(f"a guest's frames: no file but {data[at : at + 20]!r}")
            return None, at
        at = head.end() + int(head[2])
        if at > len(data):
            return None, at
        files[head[1].decode("ascii")] = data[head.end() : at]
    return files, at


class Tree:
    """A /proc and a /sys of files that stay the same files, as sources keep them open."""

    def __init__(self) -> None:
        """Make the directory, in memory where there is such a place."""
        shm = "/dev/shm"
        self._root = tempfile.mkdtemp(
            prefix="jepad-gym-", dir=shm if os.access(shm, os.W_OK) else None
        )
        self._known: set[str] = set()
        self.roots = Roots(*(f"{self._root}/{name}" for name in ("proc", "sys", "run", "dev")))

    def show(self, frame: Frame) -> None:
        """Make the tree what the guest saw at that tick."""
        for path in self._known - frame.files.keys():
            self._write(path, b"")
        for path, data in frame.files.items():
            self._write(path, data)

    def _write(self, path: str, data: bytes) -> None:
        if ".." in path:
            raise SourceError(f"a guest's frames: {path!r}")
        target = self._root + path
        if path not in self._known:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            self._known.add(path)
        with open(target, "wb") as f:
            f.write(data)

    def close(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self._root, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Rows:
    """An episode as a table; the labels are its last columns."""

    series: tuple[Series, ...]
    t_s: Floats
    values: Floats

    def column(self, name: str) -> Floats:
        """One series, all NaN where there is none of that name."""
        names = [s.name for s in self.series]
        if name not in names:
            return np.full(len(self.t_s), np.nan)
        column: Floats = self.values[:, names.index(name)]
        return column


def rows(frames: Sequence[Frame], workloads: Sequence[str] = ()) -> Rows:
    """Read the frames with jepad's own sources; time counts from the first frame.

    `label.workload` has bit i set while the unit workloads[i] holds any memory."""
    tree = Tree()
    try:
        tree.show(max(frames, key=_units_seen))
        snapshot = Snapshot(registry.build(tree.roots, SOURCES))
        labels = [_labels(frame, workloads) for frame in frames]
        values = np.empty((len(frames), len(snapshot.series) + len(_LABELS)))
        for i, frame in enumerate(frames):
            tree.show(frame)
            values[i, : len(snapshot.series)] = snapshot.take().values
            values[i, len(snapshot.series) :] = labels[i]
        t_s = np.array([(frame.t_ns - frames[0].t_ns) * 1e-9 for frame in frames])
        return Rows((*snapshot.series, *_LABELS), np.round(t_s, 4), values)
    finally:
        tree.close()


def _units_seen(frame: Frame) -> int:
    """How many groups hold memory: the source leaves out those that hold none."""
    return sum(
        path.endswith("/memory.current") and data.strip() not in (b"", b"0")
        for path, data in frame.files.items()
    )


def usage(frame: Frame, unit: str) -> float:
    """Bytes a unit uses in a frame; 0 before it exists."""
    return float(frame.files.get(f"/sys/fs/cgroup/{unit}/memory.current", b"0").strip() or 0)


def _labels(frame: Frame, workloads: Sequence[str]) -> list[float]:
    """Sums over the units; the latency is the longest answer since the frame before."""
    told = [d.split() for p, d in frame.files.items() if p.startswith("/gym/")]
    events = [d.split() for p, d in frame.files.items() if p.endswith("/memory.events")]
    answered, worst, deaths = ([int(line[i]) for line in told] for i in (0, 2, 3))
    killed = sum(int(e[e.index(b"oom_kill") + 1]) for e in events if b"oom_kill" in e)
    mask = sum(1 << i for i, unit in enumerate(workloads) if usage(frame, unit) > 0)
    latency = float(max(worst, default=0)) or np.nan
    return [float(killed), float(sum(deaths)), float(sum(answered)), latency, float(mask)]


def write(path: str, table: Rows) -> None:
    """The trace as one gz member, complete or not there at all."""
    with tempfile.TemporaryDirectory() as work:
        writer = TraceWriter(f"{work}/trace.csv", table.series)
        for t_s, values in zip(table.t_s.tolist(), table.values, strict=True):
            writer.append(t_s, values)
        writer.close()
        Path(f"{path}.new").write_bytes(
            gzip.compress(Path(f"{work}/trace.csv").read_bytes(), 9, mtime=0)
        )
    os.replace(f"{path}.new", path)
