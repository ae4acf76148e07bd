"""Who has a stream open: looked up in /proc, where nobody can hide a mapping from its owner.

Owns: the look-up. Does not know streams' contents. It sees processes that this user may look into
(root all, others their own) and says how many it may not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from jepad.ring.layout import object_path

_GONE = " (deleted)"
_PF_KTHREAD = 0x00200000


@dataclass(frozen=True, slots=True, order=True)
class Reader:
    """A process and a stream that it has mapped or open."""

    stream: str
    pid: int
    uid: int
    program: str  # as the kernel calls it; any process may choose this
    writes: bool  # it can change the stream: the camera's own process


@dataclass(frozen=True, slots=True)
class Readers:
    """Those found, and how many processes could not be looked into."""

    found: tuple[Reader, ...]
    unseen: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Streams by the path and by the file that they are: containers see other paths."""

    paths: Mapping[str, str]
    files: Mapping[tuple[int, int], str]

    @property
    def names(self) -> set[str]:
        return {os.path.basename(path) for path in self.paths}

    def stream(self, path: str, file: tuple[int, int] | None) -> str | None:
        return self.paths.get(path.removesuffix(_GONE)) or (self.files.get(file) if file else None)


def readers(prefix: str, streams: Sequence[str], proc: str = "/proc") -> Readers:
    """Tens of milliseconds: on request, never each tick. Retired streams are told while mapped."""
    wanted = _wanted({object_path(prefix, stream): stream for stream in streams})
    found: set[Reader] = set()
    unseen = 0
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit()):
        directory = f"{proc}/{pid}"
        try:
            uses = {**_opened(directory, wanted), **_mapped(directory, wanted)}
            found.update(_reader(directory, stream, writes) for stream, writes in uses.items())
        except PermissionError:
            unseen += not _kernels(directory)
        except OSError:  # it ended meanwhile
            continue
    return Readers(tuple(sorted(found)), unseen)


def _wanted(paths: Mapping[str, str]) -> _Wanted:
    files = {}
    for path, stream in paths.items():
        try:
            found = os.stat(path, follow_symlinks=False)
        except OSError:
            continue
        files[found.st_dev, found.st_ino] = stream
    return _Wanted(paths, files)


def _mapped(directory: str, wanted: _Wanted) -> dict[str, bool]:
    """Stream to whether it can be written, of a process's mappings."""
    out: dict[str, bool] = {}
    with open(f"{directory}/maps", errors="surrogateescape") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            if len(fields) < 6:
                continue
            stream = wanted.stream(fields[5], _file(fields[3], fields[4]))
            if stream is not None:
                out[stream] = out.get(stream, False) or "w" in fields[1]
    return out


def _file(device: str, inode: str) -> tuple[int, int] | None:
    major, _, minor = device.partition(":")
    try:
        return os.makedev(int(major, 16), int(minor, 16)), int(inode)
    except ValueError:
        return None


def _opened(directory: str, wanted: _Wanted) -> dict[str, bool]:
    """The same of its descriptors: it may be read unmapped, or mapped later."""
    out = {}
    for entry in _links(f"{directory}/fd"):
        try:
            stream = _behind(entry, wanted)
        except FileNotFoundError:  # closed meanwhile
            continue
        if stream is not None:
            out[stream] = False
    return out


def _behind(entry: str, wanted: _Wanted) -> str | None:
    """Only what is called like a stream is looked at: a dead file server would keep us waiting."""
    path = os.readlink(entry)
    stream = wanted.stream(path, None)
    if stream is None and os.path.basename(path.removesuffix(_GONE)) in wanted.names:
        found = os.stat(entry)
        stream = wanted.files.get((found.st_dev, found.st_ino))
    return stream


def _links(directory: str) -> Iterator[str]:
    entries: Iterable[os.DirEntry[str]]
    with os.scandir(directory) as entries:
        for entry in entries:
            yield entry.path


def _kernels(directory: str) -> bool:
    """Whether it is a thread of the kernel: it reads no streams."""
    try:
        with open(f"{directory}/stat", "rb") as stat:
            flags = stat.read().rpartition(b")")[2].split()[6]
    except (OSError, IndexError):
        return False
    return bool(int(flags) & _PF_KTHREAD)


def _reader(directory: str, stream: str, writes: bool) -> Reader:
    with open(f"{directory}/comm", errors="replace") as comm:
        program = comm.read().strip()
    printable = "".join(c if c.isprintable() else "?" for c in program)
    pid = int(os.path.basename(directory))
    return Reader(stream, pid, os.stat(directory).st_uid, printable, writes)
