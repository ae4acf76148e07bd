"""The newest frames of a stream, as they came.

Owns: their place in memory, their order. Does not know: streams, models, time.

They are kept as bytes and made patches only when they are encoded: a frame of a quiet scene costs
one copy.
"""

from __future__ import annotations

import numpy as np

from jepad.scene.eye import Frames


class Film:
    """Read into `slot`, then `take`; `clip` when it is worth it."""

    def __init__(self, length: int, shape: tuple[int, ...]) -> None:
        """`length` frames of one shape [H, W, 3]."""
        self._kept = np.empty((length, *shape), np.uint8)
        self._next = 0
        self.count = 0  # of those in a row, also of those no longer kept

    @property
    def length(self) -> int:
        """How many are kept at most."""
        return len(self._kept)

    @property
    def slot(self) -> Frames:
        """Where the next frame goes; what is there is the oldest."""
        out: Frames = self._kept[self._next]
        return out

    def take(self) -> None:
        """What lies in `slot` is the newest frame."""
        self._next = (self._next + 1) % self.length
        self.count += 1

    def clear(self) -> None:
        """What follows does not follow on what was; `slot` stays what it is."""
        self.count = 0

    def clip(self, unit: int = 1) -> Frames:
        """A copy of those in a row, oldest first, as many as `unit` divides."""
        count = min(self.count, self.length) // unit * unit
        out: Frames = self._kept[np.arange(self._next - count, self._next) % self.length]
        return out
