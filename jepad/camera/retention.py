"""How long what a camera saw can be read: minutes, then it is zeroed where it lies.

Owns: the limit, how many slots it takes, clearing what a dead process left.
Does not know: what records mean. Copies that readers made are beyond its reach, and ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from jepad.errors import NotFound, RingError
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer

#: A stream takes no more shared memory than this, whatever the minutes.
MOST_BYTES = 256 << 20
LEAST_SLOTS, MOST_SLOTS = 4, 1 << 24
_EVER = (1 << 64) - 1


class Retention:
    """sweep() once a second, also while nothing is published: silence makes records old too."""

    def __init__(self, minutes: float, writers: Callable[[], Iterable[Writer | None]]) -> None:
        """`writers`: those there are now."""
        self._limit_ns = round(minutes * 60e9)
        self._writers = writers

    def sweep(self, now_ns: int | None = None) -> int:
        """Zero what was captured or published longer ago than the limit; how many records."""
        now = time.monotonic_ns() if now_ns is None else now_ns
        return sum(_forget(writer, now - self._limit_ns) for writer in self._writers() if writer)


def fitting(minutes: float, rate: float, record_bytes: int, most_bytes: int = MOST_BYTES) -> int:
    """Slots, a power of two, that hold so many minutes; fewer where memory allows no more."""
    wanted = max(int(minutes * 60 * rate) + 1, LEAST_SLOTS)
    fit = max(most_bytes // max(record_bytes, 1), LEAST_SLOTS)
    up = 1 << (wanted - 1).bit_length()
    return min(up if up <= fit else 1 << (fit.bit_length() - 1), MOST_SLOTS)


def discard(prefix: str, stream: str) -> bool:
    """Zero and retire what a dead writer left; False if there is none, or its writer lives."""
    try:
        with Stream(prefix, stream) as old:
            header = old.header
        layout = Layout(
            header.name, header.dtype, header.shape, header.schema, header.slots,
            header.model_sha256,
        )  # fmt: skip
        writer = Writer.create(prefix, layout)
    except (NotFound, RingError):
        return False
    writer.forget(_EVER)
    writer.retire()
    return True


def _forget(writer: Writer, before_ns: int) -> int:
    try:
        return writer.forget(before_ns)
    except RingError:  # retired since we asked
        return 0
