"""The writing end of a stream.

Owns: one object's life (create, take over, retire) and the thread that wakes its readers.
Does not know: who reads, how many they are, or what the numbers mean.
"""

from __future__ import annotations

import grp
import threading
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepad.errors import RingError, SettingError
from jepad.ring._shm import ffi, lib
from jepad.ring.layout import DTYPE_CODES, Layout, object_path

_OWN_GROUP = 0xFFFFFFFF
_from = ffi.from_buffer


class Notifier:
    """The thread that wakes waiting readers: it lives in C and never holds the interpreter."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._thread = threading.Thread(
            target=lib.jepad_notifier_run, args=(handle,), name="ring-notifier", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Returns once the thread has left the writer alone."""
        lib.jepad_notifier_stop(self._handle)
        self._thread.join()


class Writer:
    """Publishes records; never waits for a reader. One at a time for each stream."""

    def __init__(self, handle: Any, layout: Layout) -> None:
        self.layout = layout
        self._element = layout.element
        self._shape = tuple(layout.shape)
        self._handle = handle
        self._lock = threading.Lock()  # C runs without the GIL, and has room for one publisher
        self._notifier = Notifier(handle)

    @classmethod
    def create(
        cls, prefix: str, layout: Layout, mode: int = 0o640, group: str | int | None = None
    ) -> Writer:
        """Make the object, or take over what an earlier writer of the same layout left."""
        path = object_path(prefix, layout.stream)
        declared, keep = _declare(layout)
        access = ffi.new("struct jepad_access *", {"mode": mode, "group": _gid(group)})
        err = ffi.new("char[]", lib.JEPAD_ERR_SIZE)
        out = ffi.new("jepad_writer **")
        code = lib.jepad_writer_open(out, path.encode(), declared, access, err)
        del keep
        if code != 0:
            raise RingError(ffi.string(err).decode(errors="replace"))
        return cls(out[0], layout)

    @property
    def generation(self) -> int:
        """The object's random number; a writer that took it over keeps it."""
        return int(lib.jepad_writer_generation(self._live()))

    def publish(
        self,
        array: NDArray[Any],
        t_ns: int,
        flags: int = 0,
        source_n: int = 0,
        aux: tuple[int, int] = (0, 0),
    ) -> int:
        """Store one record and have readers woken; returns its number."""
        if array.dtype is not self._element or array.shape != self._shape:
            array = self._fit(array)
        try:
            data = _from(array)
        except ValueError:  # not contiguous: cheaper to ask forgiveness, it is rare
            data = _from(np.ascontiguousarray(array))
        aux0, aux1 = aux
        with self._lock:
            handle = self._handle or self._live()
            n: int = lib.ring_publish(handle, data, t_ns, flags, source_n, aux0, aux1)
        return n

    def forget(self, before_ns: int) -> int:
        """Zero in place what was captured or published before then; how many records that was.

        Readers find them lapped; no later reader can get at them, nor whoever maps the object.
        """
        with self._lock:
            return int(lib.jepad_forget(self._live(), max(before_ns, 0)))

    def heartbeat(self) -> None:
        """Tell readers that the writer lives though it has nothing to say."""
        with self._lock:
            lib.jepad_heartbeat(self._live())

    def close(self) -> None:
        """Leave the object to a next writer; readers see "stopped"."""
        self._end(retire=False)

    def retire(self) -> None:
        """Remove the object; readers see "retired" and open the stream anew."""
        self._end(retire=True)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _fit(self, array: NDArray[Any]) -> NDArray[Any]:
        if array.shape != self._shape:
            raise SettingError(f"{array.shape} is not the stream's shape {self._shape}")
        return array.astype(self._element)

    def _live(self) -> Any:
        if self._handle is None:
            raise RingError(f"the writer of {self.layout.stream} is closed")
        return self._handle

    def _end(self, retire: bool) -> None:
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            self._notifier.stop()
            lib.jepad_writer_close(handle, int(retire))


def _declare(layout: Layout) -> tuple[Any, list[Any]]:
    """The layout for C, and the buffers that must outlive it."""
    element, shape, schema = layout.element, layout.shape, layout.schema_json()
    if not 1 <= len(shape) <= 6 or any(d < 1 for d in shape):
        raise SettingError(f"{shape} can't be a stream's shape: 1 to 6 positive dimensions")
    if layout.model_sha256 and len(layout.model_sha256) != 32:
        raise SettingError("model_sha256 is 32 bytes, or none")
    if not 4 <= layout.slots <= 1 << 24 or layout.slots & (layout.slots - 1):
        raise SettingError(f"{layout.slots} slots: a power of two from 4 to 2^24 is wanted")
    keep = [ffi.new("char[]", layout.stream.encode()), ffi.from_buffer(schema)]
    fields = {
        "name": keep[0],
        "kind": layout.kind,
        "flags": lib.JEPAD_FLAG_PAYLOAD_CRC if layout.payload_crc else 0,
        "dtype_code": DTYPE_CODES[element.kind],
        "bits": element.itemsize * 8,
        "lanes": 1,
        "ndim": len(shape),
        "shape": list(shape),
        "slot_count": layout.slots,
        "schema": keep[1],
        "schema_len": len(schema),
        "model_sha256": list(layout.model_sha256),
    }
    return ffi.new("struct jepad_layout *", fields), keep


def _gid(group: str | int | None) -> int:
    if group is None:
        return _OWN_GROUP
    if isinstance(group, int):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise SettingError(f"there is no group {group!r}: create it, or choose another") from None
