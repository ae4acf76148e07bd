"""A stream of frames, one after the other, while its writers come and go.

Owns: which frames are refused, what follows on what, when a stream has ended.
Does not know what is made of a frame.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from jepad.errors import Lapped, NotFound, RingError
from jepad.ring.stream import Frame, Stream
from jepad.scene.eye import Frames, pictured

#: After a stream was retired another of its name may follow, as when its layout changed.
SUCCESSOR_S = 2.0
#: A camera's, where its stream doesn't say and too little came to measure it.
FPS, SLOWEST, FASTEST = 4.0, 0.01, 240.0
_MEASURED = 9  # frames


class Source:
    """By one thread."""

    def __init__(self, prefix: str, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """NotFound, RingError: it can't be opened or trusted; SettingError: no pictures in it."""
        self._prefix, self._name, self._clock = prefix, name, clock
        self._stream = self._opened()
        self._at = max(self._stream.head - 1, -1)  # begins with the newest
        self._retired: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a frame, [H, W, 3]."""
        return self._stream.header.shape

    @property
    def waiting(self) -> int:
        """Frames that are there, not read yet."""
        return self._stream.head - self._at

    @property
    def fps(self) -> float:
        """Frames a second: what the stream says of itself, else as they came."""
        for name in ("fps", "rate"):
            told = self._stream.header.schema.get(name)
            if isinstance(told, int | float) and SLOWEST <= told <= FASTEST:
                return float(told)
        _, t_ns, _, _ = self._stream.window(_MEASURED)
        apart = np.diff(t_ns).astype(float) / 1e9
        apart = apart[apart > 0]
        if len(apart) < 2:
            return FPS
        return min(max(1 / float(np.median(apart)), SLOWEST), FASTEST)

    def next(self, out: Frames, timeout: float) -> Frame | None:
        """The frame after the one before, into `out`; None: none in time. Lapped: it is gone, the
        next call goes on with those that will not be overwritten at once."""
        try:
            frame = self._stream.read(after=self._at, timeout=timeout, out=out)
        except Lapped:
            # What is still kept follows on itself; one frame in it may be gone, being too old.
            oldest = self._stream.head - self._stream.header.slots * 3 // 4
            self._at = max(self._at + 1, oldest)
            raise
        if frame is not None:
            self._at = frame.n
        return frame

    def state(self) -> str:
        """ "live", "waiting" (its writer stopped or died), "renewed" (another stream has its name:
        call `renew`), "ended" (retired, nothing left to read)."""
        told = self._stream.state
        if told == "live" or self.waiting > 0:
            return "live"
        if told != "retired":
            return "waiting" if self._successor() is None else "renewed"
        if self._successor() is not None:
            return "renewed"
        now = self._clock()
        if self._retired is None:
            self._retired = now
        return "ended" if now >= self._retired + SUCCESSOR_S else "waiting"

    def renew(self) -> None:
        """Go on with the stream that has the name now. Errors as when it was made."""
        found = self._opened()
        self._stream.close()
        self._stream, self._at, self._retired = found, -1, None

    def close(self) -> None:
        """Let go."""
        self._stream.close()

    def _successor(self) -> int | None:
        """Generation of another object of this name."""
        try:
            with Stream(self._prefix, self._name) as found:
                generation = found.header.generation
        except (NotFound, RingError):
            return None
        return None if generation == self._stream.header.generation else generation

    def _opened(self) -> Stream:
        stream = Stream(self._prefix, self._name)
        try:
            pictured(self._name, stream.header)
        except BaseException:
            stream.close()
            raise
        return stream


def steps_in(seconds: float, fps: float, unit: int) -> int:
    """Steps in time (of `unit` frames) that end at or after so many seconds; at least 1."""
    return max(1, math.ceil(round(seconds * fps / unit, 6)))
