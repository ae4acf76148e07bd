"""What the motion baseline said of each frame: is it worth encoding?

Owns: the stream of verdicts, which of them belongs to which frame.
Does not know how a verdict is found, nor what is done without one.
"""

from __future__ import annotations

import time
from collections import OrderedDict

import numpy as np

from jepad.errors import JepadError, Lapped, NotFound, SettingError
from jepad.ring.stream import Header, Stream

#: The first number of a record, by its schema.
GATE = "gate"
#: A verdict is published with its frame; it may be so much later.
PATIENCE_S = 0.1
#: Between looks for a stream that is not there.
AGAIN_S = 1.0
_KEPT = 256


class Verdicts:
    """Of one stream; by one thread. None of them is no error: then all is worth encoding."""

    def __init__(self, prefix: str, name: str) -> None:
        """SettingError, RingError: there is such a stream, and it holds none."""
        self._prefix, self._name = prefix, name
        self._stream: Stream | None = None
        self._found: OrderedDict[int, bool] = OrderedDict()
        self._at, self._again = -1, 0.0
        self.reason = ""  # why there are none
        try:
            self._take(Stream(prefix, name))
        except NotFound as error:
            self.reason = str(error)

    def of(self, n: int) -> bool | None:
        """Is frame `n` worth encoding? None: nobody said."""
        stream = self._there()
        if stream is None:
            return None
        limit = time.monotonic() + PATIENCE_S
        while n not in self._found:
            left = limit - time.monotonic()
            if not self._read(stream, max(left, 0) if stream.state == "live" else 0):
                return None
            if max(self._found, default=-1) > n:
                break
        return self._found.get(n)

    def reopen(self) -> None:
        """Frames are counted anew."""
        self.close()
        self._again = 0.0

    def close(self) -> None:
        """Let go of the stream."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None
        self._found.clear()

    def _there(self) -> Stream | None:
        stream = self._stream
        if stream is not None and not (stream.state == "retired" and self._at >= stream.head):
            return stream
        if time.monotonic() >= self._again:
            self._again = time.monotonic() + AGAIN_S
            self.close()
            try:
                self._take(Stream(self._prefix, self._name))
            except JepadError as error:
                self.reason = str(error)
        return self._stream

    def _take(self, stream: Stream) -> None:
        try:
            _checked(self._name, stream.header)
        except SettingError:
            stream.close()
            raise
        self._stream, self.reason = stream, ""
        self._at = max(stream.head - stream.header.slots // 2, -1)

    def _read(self, stream: Stream, timeout: float) -> bool:
        """The next record; False: there is none in time."""
        try:
            record = stream.read(after=self._at, timeout=timeout)
        except Lapped:
            self._at = max(self._at + 1, stream.head - stream.header.slots * 3 // 4)
            return True
        if record is None:
            return False
        self._at = record.n
        # What is no number is no reason to look away.
        self._found[record.source_n] = not bool(record.array[0] < np.float32(0.5))
        while len(self._found) > _KEPT:
            self._found.popitem(last=False)
        return True


def _checked(name: str, header: Header) -> None:
    head = header.schema.get("head")
    first = head[0] if isinstance(head, list) and head else None
    if header.dtype != np.float32 or len(header.shape) != 1 or first != GATE:
        raise SettingError(
            f'stream {name}: no verdicts on motion in it, float32 [N] whose schema\'s "head" '
            f'begins with "{GATE}", but {header.dtype} {list(header.shape)} of {str(first)[:40]!r}'
        )
