"""What a telemetry source is, and how one reads the kernel's files.

Owns: the Source protocol, kernel files kept open, and the turning of whatever a file holds
into numbers or a SourceError that names the file. Does not know: any source, or who asks.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol, TypeVar

from jepad.errors import SourceError
from jepad.records import Series

T = TypeVar("T")

#: seq_file hands out whole records, so a read shorter than this had nothing left to give.
_SHORT = 2048
#: No file read here is larger; one that claims to be is not the kernel's.
_MAX_BYTES = 1 << 22
#: A sensor that is asleep, unplugged or has no reading says so with one of these.
SILENT = frozenset({errno.ENODATA, errno.EAGAIN, errno.ENXIO, errno.ENODEV, errno.EBUSY})


class Source(Protocol):
    """One kind of telemetry of this machine."""

    name: str

    def describe(self) -> tuple[Series, ...]:
        """Look what there is now; () means absent here, which is a state and no error."""
        ...

    def read(self) -> dict[str, float]:
        """Raw values by series name, a subset of what describe() declared."""
        ...


class PartlyRead(SourceError):
    """Some files of a source failed; `values` holds what the others gave."""

    def __init__(self, message: str, values: dict[str, float]) -> None:
        """Keep the good values beside the message about the bad ones."""
        super().__init__(message)
        self.values = values


class KernelFile:
    """A file of /proc or /sys, opened once and read from its start on each tick."""

    __slots__ = ("_empty_ok", "_fd", "_size", "path")

    def __init__(self, path: str, empty_ok: bool = False) -> None:
        """Name the file; it is opened on the first read."""
        self.path = path
        self._empty_ok = empty_ok
        self._fd = -1
        self._size = 4096

    def read(self) -> bytes:
        """The whole file as it is now; SourceError when it is gone, empty or absurdly large."""
        try:
            if self._fd < 0:
                self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            data = os.pread(self._fd, self._size, 0)
            if len(data) >= _SHORT:
                data = self._rest(data)
        except OSError as error:
            self.close()
            raise SourceError(f"{self.path}: {error.strerror}") from error
        if not data and not self._empty_ok:
            raise SourceError(f"{self.path}: empty")
        return data

    def _rest(self, data: bytes) -> bytes:
        parts = [data]
        total = len(data)
        while len(parts[-1]) >= _SHORT and total <= _MAX_BYTES:
            parts.append(os.pread(self._fd, max(self._size, 65536), total))
            total += len(parts[-1])
        if total > _MAX_BYTES:
            raise OSError(errno.EFBIG, f"larger than {_MAX_BYTES} bytes")
        self._size = max(self._size, total + _SHORT)
        return b"".join(parts)

    def parse(self, parser: Callable[[bytes], T]) -> T:
        """Read and parse; whatever the parser trips over is a SourceError with the path."""
        data = self.read()
        try:
            return parser(data)
        except (ValueError, IndexError, KeyError) as error:
            raise SourceError(f"{self.path}: not in the kernel's format: {error!s:.80}") from error

    def close(self) -> None:
        """Let go of the descriptor; the next read opens the file anew."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        """A source that is forgotten leaks no descriptor."""
        self.close()


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the wanted keys and their values stand among a file's tokens."""

    keys: tuple[str, ...]
    tokens: int
    marks: tuple[bytes, ...]
    pick_marks: Callable[[list[bytes]], tuple[bytes, ...]]
    pick: Callable[[list[bytes]], tuple[bytes, ...]]


class KeyedFile:
    """Values of fixed keys in a file of `key value` lines, found by learned positions."""

    def __init__(self, path: str, keys: str, colon: bool = False) -> None:
        """Name the file and the keys wanted; `colon` for /proc/meminfo's way of writing keys."""
        self.file = KernelFile(path)
        self._suffix = ":" if colon else ""
        self._wanted = tuple(keys.split())
        self._layout = _Layout((), 0, (), tuple, tuple)

    def learn(self) -> tuple[str, ...]:
        """The wanted keys this kernel has; () when there is no such file."""
        try:
            self._layout = self.file.parse(self._find)
        except SourceError:
            return ()
        return self._layout.keys

    def _find(self, data: bytes) -> _Layout:
        tokens = whole_lines(data).split()
        at = {token: i for i, token in reversed(list(enumerate(tokens[:-1])))}
        keys = tuple(k for k in self._wanted if (k + self._suffix).encode() in at)
        marks = tuple((k + self._suffix).encode() for k in keys)
        places = [at[mark] for mark in marks]
        return _Layout(keys, len(tokens), marks, _picker(places), _picker([i + 1 for i in places]))

    def read(self) -> dict[str, float]:
        """Values by key."""
        return self.file.parse(self._parse)

    def _parse(self, data: bytes) -> dict[str, float]:
        tokens = whole_lines(data).split()
        layout = self._layout
        if len(tokens) != layout.tokens or layout.pick_marks(tokens) != layout.marks:
            layout = self._find(data)
            if layout.keys != self._layout.keys:
                raise ValueError(
                    f"keys changed: {sorted({*layout.keys} ^ {*self._layout.keys})[:3]}"
                )
            self._layout = layout
        return dict(zip(layout.keys, numbers(layout.pick(tokens)), strict=True))


def _picker(positions: list[int]) -> Callable[[list[bytes]], tuple[bytes, ...]]:
    """Itemgetter that answers a tuple for any number of positions."""
    if len(positions) > 1:
        return itemgetter(*positions)
    return lambda tokens: tuple(tokens[i] for i in positions)


def whole_lines(data: bytes) -> bytes:
    """The data itself; ValueError when the last line is cut, as the kernel never cuts one."""
    if not data.endswith(b"\n"):
        raise ValueError("last line is cut")
    return data


def numbers(tokens: Iterable[bytes]) -> list[float]:
    """Tokens as finite floats; ValueError for anything else."""
    values = [float(token) for token in tokens]
    if not math.isfinite(sum(values)):
        raise ValueError("not a finite number")
    return values


def number(data: bytes) -> float:
    """A file that holds one number."""
    return numbers((data,))[0]


def scaled(path: str, scale: float = 1.0) -> Callable[[], float]:
    """A reader of a one-number file, times `scale`."""
    file = KernelFile(path)
    return lambda: file.parse(number) * scale


def answers(read: Callable[[], object]) -> bool:
    """Whether a file can be read at all: what can't be is absent, not failed."""
    try:
        read()
    except SourceError:
        return False
    return True


def read_each(
    readers: Mapping[str, Callable[[], float]], silent: frozenset[int] = SILENT
) -> dict[str, float]:
    """Read many independent files: one that has nothing to say is left out, one that fails tells.

    A wireless card's sensor answers ENODATA while the card is down: a state, not a failure.
    """
    values: dict[str, float] = {}
    failed: list[str] = []
    for name, read in readers.items():
        try:
            values[name] = read()
        except SourceError as error:
            cause = error.__cause__
            if not (isinstance(cause, OSError) and cause.errno in silent):
                failed.append(str(error))
    if failed:
        raise PartlyRead(f"{failed[0]} ({len(failed)} of {len(readers)} files failed)", values)
    return values


def text(path: str, most: int = 128) -> str:
    """A short label out of sysfs, or "" when there is none; never raises."""
    try:
        return KernelFile(path).read()[:most].decode("utf-8", "replace").strip()
    except SourceError:
        return ""


def names_in(directory: str) -> list[str]:
    """Entries of a directory in the order people count them; [] when it is not there."""
    try:
        entries = os.listdir(directory)
    except OSError:
        return []
    return sorted(entries, key=_natural)


def _natural(name: str) -> tuple[int, str]:
    digits = "".join(c for c in name if c.isdecimal() and c.isascii())[:18]
    return (int(digits) if digits else -1, name)


_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@:()+-\\")


def word(name: str) -> str:
    """A name fit for a series: what users may have called things can't break a CSV or a log."""
    return "".join(c if c in _WORD else "_" for c in name[:96])
