"""One frame on its way to the ring, and what a privacy filter is.

Owns: the shot, the contract of filters. Does not know any filter, nor codecs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

#: uint8 [side, side, 3], RGB, contiguous.
Square = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame before it is shared."""

    square: Square  # at model size; the filter's to write into
    t_ns: int  # CLOCK_MONOTONIC of its capture
    t_s: float  # the scene's own time: that of the file, or of the capture
    #: The same centre square at another side in pixels, from the decoded frame.
    look: Callable[[int], Square]


class Filter(Protocol):
    """Called once a frame, in order, by one thread. Never raises for what can go wrong in use:
    it pixelates the whole frame and says so in `state`."""

    @property
    def names(self) -> tuple[str, ...]:
        """What is in force, in words for a person: "zones (2)", "faces", "pixelate 16"."""

    @property
    def state(self) -> str:
        """ "" when all is well; else why the whole frame is pixelated."""

    def __call__(self, shot: Shot) -> Square:
        """What may be shared: the same shape and type; `shot.square` itself, or another."""
