"""The reading end of a stream: a read-only mapping that needs no write access for anything.

Owns: whole records or `Lapped`, never a torn one; waiting; the header in Python's terms.
Does not know: the writer's process, or what the numbers mean.
"""

from __future__ import annotations

import json
import os
import pwd
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepad.errors import Lapped, NotFound, NotReady, RingError, SettingError
from jepad.ring._shm import ffi, lib
from jepad.ring.layout import FIXED_DTYPE, FIXED_SIZE, dtype_of, object_path

#: A live writer beats at least once a second; five missed beats are no hiccup.
DEAD_AFTER_S = 5.0
_NOBODY = 0xFFFFFFFF
_new, _from, _cast = ffi.new, ffi.from_buffer, ffi.cast


@dataclass(frozen=True, slots=True)
class Header:
    """What the writer declared, as it was when the stream was opened."""

    name: str
    kind: int
    schema: dict[str, Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    slots: int
    model_sha256: bytes  # b"": no model
    generation: int
    total_bytes: int


class Frame:
    """One record. Made before the wait for it, so that a woken reader has it at once."""

    __slots__ = ("_view", "array")

    def __init__(self, array: NDArray[Any], view: Any) -> None:
        self.array = array
        self._view = view

    @property
    def n(self) -> int:
        """Its number: 0, 1, 2, ... over all writers of the object."""
        return int(self._view.n)

    @property
    def t_ns(self) -> int:
        """CLOCK_MONOTONIC of its capture."""
        return int(self._view.t_capture_ns)

    @property
    def t_publish_ns(self) -> int:
        """CLOCK_MONOTONIC of its publishing."""
        return int(self._view.t_publish_ns)

    @property
    def flags(self) -> int:
        """`records.GAP` and others to come."""
        return int(self._view.flags)

    @property
    def source_n(self) -> int:
        """The record of another stream that it was made from."""
        return int(self._view.source_n)

    @property
    def aux(self) -> tuple[int, int]:
        """Two words of the stream's own."""
        return int(self._view.aux[0]), int(self._view.aux[1])

    @property
    def epoch(self) -> int:
        """Which writer of this object wrote it."""
        return int(self._view.epoch)


class Latest:
    """The newest record in place; leaving the `with` block raises Lapped if it was overwritten."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._view = _new("struct jepad_view *")

    def __enter__(self) -> Frame:
        return self._stream._newest(self._view)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        # What a block raised over a torn record is an effect of the tear; a Ctrl-C is not.
        if error is None or isinstance(error, Exception):
            self._stream._still(self._view)


class Stream:
    """An open stream. Arrays that `latest` gave stay mapped for as long as they live."""

    def __init__(self, prefix: str, stream: str, owner: int | None = None) -> None:
        """Open by name; ``owner`` is trusted besides root, the caller and the prefix's user."""
        path = object_path(prefix, stream)
        trusted = _expected_owner(prefix) if owner is None else owner
        out, err = ffi.new("jepad_reader **"), ffi.new("char[]", lib.JEPAD_ERR_SIZE)
        code = lib.jepad_reader_open(out, path.encode(), stream.encode(), trusted, err)
        self._attach(code, out, err)

    @classmethod
    def from_fd(cls, fd: int, owner: int | None = None) -> Stream:
        """Open what a descriptor refers to, such as the bus's OpenStream gives; it stays open."""
        self = cls.__new__(cls)
        trusted = _expected_owner("jepad") if owner is None else owner
        out, err = ffi.new("jepad_reader **"), ffi.new("char[]", lib.JEPAD_ERR_SIZE)
        self._attach(lib.jepad_reader_open_fd(out, fd, ffi.NULL, trusted, err), out, err)
        return self

    def _attach(self, code: int, out: Any, err: Any) -> None:
        if code != 0:
            text = ffi.string(err).decode(errors="replace")
            raise NotFound(text) if code == lib.JEPAD_E_ABSENT else RingError(text)
        handle = ffi.gc(out[0], lib.jepad_reader_close)
        self.header = _header(handle)
        # The buffer keeps the handle alive, and each view of it the buffer: no dangling arrays.
        base = ffi.gc(lib.jepad_reader_base(handle), lambda _base, _handle=handle: None)
        whole = memoryview(ffi.buffer(base, self.header.total_bytes)).toreadonly()
        self._bytes = np.frombuffer(whole, np.uint8)
        self._base = int(ffi.cast("uintptr_t", base))
        self._handle: Any = handle

    @property
    def head(self) -> int:
        """The newest record's number, -1 before the first."""
        return int(lib.jepad_head(self._open())) - 1

    @property
    def epoch(self) -> int:
        """How many writers this object has had."""
        return int(lib.jepad_epoch(self._open()))

    @property
    def state(self) -> str:
        """ "live", "stopped" (may come back), "retired" (open anew) or "dead" (no heartbeat)."""
        return self.state_after(DEAD_AFTER_S)

    def state_after(self, dead_after_s: float) -> str:
        """The same, with the silence that counts as death given."""
        code = lib.jepad_state(self._open(), round(dead_after_s * 1e9))
        names = {lib.JEPAD_LIVE: "live", lib.JEPAD_RETIRED: "retired", lib.JEPAD_DEAD: "dead"}
        return names.get(code, "stopped")

    def latest(self) -> Latest:
        """`with stream.latest() as f:` the newest record without a copy; NotReady if none."""
        return Latest(self)

    def read(
        self,
        n: int | None = None,
        after: int | None = None,
        timeout: float = 0.1,
        out: NDArray[Any] | None = None,
    ) -> Frame | None:
        """Copy record ``n``, the one following ``after``, or the newest; None on timeout.

        Lapped if the writer was faster. ``out`` saves an allocation. A stream that is no longer
        live times out too: look at `state`.
        """
        if n is None and after is not None:
            n = after + 1
        if n is not None and n < 0:
            raise SettingError(f"record {n}: numbers start at 0")
        frame = Frame(self._target(out), _new("struct jepad_view *"))
        code = self._fetch(-1 if n is None else n, timeout, frame)
        if code > 0:
            return frame
        if code < 0:
            raise self._error(code, n)
        return None

    def wait(self, n: int, timeout: float) -> bool:
        """Until record ``n`` is there, for looking at it in place by `latest`."""
        return bool(self._patient(timeout, lambda left: lib.jepad_wait(self._open(), n, left, 0)))

    def window(self, count: int) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.uint32], int]:
        """The newest k ≤ count records, copied, oldest first: arrays, t_ns, flags, last number."""
        count = max(0, min(count, self.header.slots))
        rows = np.empty((count, *self.header.shape), self.header.dtype)
        t_ns, flags = np.empty(count, np.int64), np.empty(count, np.uint32)
        to = ffi.new("struct jepad_rows *")
        keep = [_from(a, require_writable=True) for a in (rows, t_ns, flags)]
        to.payload = keep[0]
        to.t_ns = ffi.cast("int64_t *", keep[1])
        to.flags = ffi.cast("uint32_t *", keep[2])
        last = ffi.new("uint64_t *")
        k = int(lib.jepad_window(self._open(), count, to, last))
        skip = count - k
        return rows[skip:], t_ns[skip:], flags[skip:], int(last[0]) if k else -1

    def close(self) -> None:
        """Let go; the mapping ends with the last array that looks into it."""
        self._handle = None
        self._bytes = np.empty(0, np.uint8)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> Any:
        if self._handle is None:
            raise RingError("the stream is closed")
        return self._handle

    def _newest(self, view: Any) -> Frame:
        code = lib.jepad_view_latest(self._open(), view)
        if code != 0:
            raise self._error(code, None)
        header = self.header
        array: NDArray[Any] = np.ndarray(
            header.shape,
            header.dtype,
            self._bytes,
            int(_cast("uintptr_t", view.payload)) - self._base,
        )
        return Frame(array, view)

    def _still(self, view: Any) -> None:
        if self._handle is None or lib.jepad_check(self._handle, view) != 0:
            raise self._error(lib.JEPAD_E_LAPPED, int(view.n))

    def _target(self, out: NDArray[Any] | None) -> NDArray[Any]:
        header = self.header
        if out is None:
            return np.empty(header.shape, header.dtype)
        if out.shape != header.shape or out.dtype != header.dtype or not out.flags.c_contiguous:
            raise SettingError(f"out= must be contiguous, {header.dtype} of {header.shape}")
        return out

    def _fetch(self, n: int, timeout: float, frame: Frame) -> int:
        array, view = frame.array, frame._view
        to, size = _from(array, require_writable=True), array.nbytes
        return self._patient(
            timeout, lambda left: lib.ring_read(self._open(), n, left, to, size, view)
        )

    def _patient(self, timeout: float, wait: Callable[[int], int]) -> int:
        """Calls C again after a signal ended its wait, once Python has acted on the signal."""
        left = int(timeout * 1e9)
        deadline = time.monotonic_ns() + left
        while True:
            code = wait(max(left, 0))
            if code != lib.JEPAD_E_SIGNAL:
                return code
            left = deadline - time.monotonic_ns()

    def _error(self, code: int, n: int | None) -> Exception:
        name = self.header.name
        if code == lib.JEPAD_E_EMPTY:
            return NotReady(f"{name}: nothing published yet")
        if code == lib.JEPAD_E_LAPPED:
            which = "the newest record" if n is None else f"record {n}"
            return Lapped(f"{name}: {which} was overwritten; the newest is {self.head} now")
        return RingError(f"{name}: {ffi.string(lib.jepad_strerror(code)).decode()}")


def listing(prefix: str, directory: str = "/dev/shm") -> list[str]:
    """The names of the streams there are, readable or not."""
    start = f"{prefix}."
    with os.scandir(directory) as entries:
        names = [e.name for e in entries if e.is_file(follow_symlinks=False)]
    return sorted(n[len(start) :] for n in names if n.startswith(start) and not n.endswith(".lock"))


def open_fd(prefix: str, stream: str) -> int:
    """A read-only descriptor of a stream's object, checked, for handing over; caller closes."""
    path = object_path(prefix, stream)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(f"there is no stream {stream}") from None
    except OSError as error:
        raise RingError(f"{path}: {error.strerror}") from error
    try:
        Stream.from_fd(fd, _expected_owner(prefix)).close()
    except BaseException:
        os.close(fd)
        raise
    return fd


def _expected_owner(prefix: str) -> int:
    """The system daemon's streams belong to the user named like their prefix."""
    try:
        return pwd.getpwnam(os.path.basename(prefix)).pw_uid
    except KeyError:
        return _NOBODY


def _header(handle: Any) -> Header:
    raw = ffi.buffer(lib.jepad_reader_header(handle), FIXED_SIZE)
    h = np.frombuffer(bytes(raw), FIXED_DTYPE)[0]
    text = ffi.string(lib.jepad_reader_schema(handle), int(h["schema_len"]))
    name = h["name"].decode(errors="replace")
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise RingError(f"{name}: the schema is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise RingError(f"{name}: the schema is not a JSON object")
    return Header(
        name=name,
        kind=int(h["kind"]),
        schema=schema,
        shape=tuple(int(d) for d in h["shape"][: int(h["ndim"])]),
        dtype=dtype_of(int(h["dtype_code"]), int(h["bits"]), int(h["lanes"])),
        slots=int(h["slot_count"]),
        model_sha256=h["model_sha256"].tobytes() if h["model_sha256"].any() else b"",
        generation=int(h["generation"]),
        total_bytes=int(h["total_size"]),
    )
