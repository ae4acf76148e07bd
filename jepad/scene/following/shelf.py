"""A ring whose records can't be read for longer than they may.

Owns: how many records are kept, and until when. Does not know what a record means.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer

#: Of one ring at most; what would need more is kept for less long.
MAX_BYTES, MAX_SLOTS, MIN_SLOTS = 64 << 20, 1 << 14, 4
#: Later than any record.
_ALL = (1 << 63) - 1


def slots_for(wanted: float, record_bytes: int) -> int:
    """A power of two: enough for so many records, where that fits."""
    most = max(min(MAX_SLOTS, MAX_BYTES // record_bytes), MIN_SLOTS)
    enough = 1 << (max(math.ceil(min(wanted, MAX_SLOTS)), MIN_SLOTS) - 1).bit_length()
    return min(enough, 1 << (most.bit_length() - 1))


class Record(NamedTuple):
    """What is published, and whose it is."""

    array: NDArray[Any]
    t_ns: int
    source_n: int
    flags: int = 0
    aux: tuple[int, int] = (0, 0)


class Shelf:
    """For several threads."""

    def __init__(
        self,
        prefix: str,
        layout: Layout,
        retention_s: float,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """RingError: no room, or somebody else writes it. What an earlier writer left is wiped."""
        self._writer: Writer | None = Writer.create(prefix, layout)
        self._clock_ns, self._retention_ns = clock_ns, int(retention_s * 1e9)
        self._newest_ns: int | None = None  # when it was published
        self._lock = threading.Lock()
        with Stream(prefix, layout.stream) as left:
            used = left.head >= 0
        if used:
            self._writer.forget(_ALL)

    @property
    def empty(self) -> bool:
        """Is there nothing in it that anybody could read?"""
        return self._newest_ns is None

    def publish(self, record: Record) -> None:
        """After close() nothing happens."""
        with self._lock:
            if self._writer is not None:
                array, t_ns, source_n, flags, aux = record
                self._newest_ns = self._clock_ns()
                self._writer.publish(array, t_ns, flags, source_n, aux)

    def sweep(self) -> None:
        """Wipe what is too old. Call it once a second: it is the heartbeat, too."""
        with self._lock:
            if self._writer is None:
                return
            self._writer.heartbeat()
            old = self._clock_ns() - self._retention_ns
            self._writer.forget(old)
            if self._newest_ns is not None and self._newest_ns < old:
                self._newest_ns = None

    def close(self) -> None:
        """Wipe it and retire it."""
        with self._lock:
            writer, self._writer, self._newest_ns = self._writer, None, None
            if writer is not None:
                writer.forget(_ALL)
                writer.retire()
