"""Faces hidden in the square that is shared.

Owns: how far beyond a face is hidden, and for how long after it was last seen.
Does not know: the network. It finds most faces, not all: docs/privacy.md has how many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jepad.camera.filters.detector import Finds
from jepad.camera.filters.picture import Span, Way, hide
from jepad.camera.filters.yunet import OVERLAP, shared
from jepad.camera.shot import Shot, Square

Box = npt.NDArray[np.float32]  # left, top, right, bottom, of the square's sides

#: Side of the square in which faces are looked for, from the decoded frame: in the shared one
#: only faces that fill a tenth of it are found.
LOOK = 640
#: Of a box's sides, to each side: hair and chin are outside of it.
MARGIN = 0.25
#: A face that is not found again has moved: its box grows by this each frame, to each side.
GROWTH = 0.1


@dataclass(frozen=True, slots=True)
class Kept:
    """A box and the frames since its face was found."""

    box: Box
    missed: int = 0


class Faces:
    """Finds, remembers, hides. What `find` raises goes through: the frame is then not shared."""

    def __init__(self, find: Finds, keep: int, way: Way, look: int = LOOK) -> None:
        self.name = "faces"
        self._find = find
        self._keep = keep
        self._way: Way = way
        self._look = look
        self._kept: list[Kept] = []

    def __call__(self, shot: Shot, pixels: Square) -> Square:
        """In place."""
        for each in self.spans(shot.look(self._look), len(pixels)):
            hide(pixels, each, self._way)
        return pixels

    def spans(self, view: Square, size: int) -> list[Span]:
        """What is to be hidden of a square of that size; the next call remembers this one."""
        self._kept = remembered(self._kept, self._find(view).boxes, self._keep)
        return [span(kept, size) for kept in self._kept]


def remembered(before: list[Kept], boxes: Box, keep: int) -> list[Kept]:
    """The boxes found, and those of faces that are not among them for at most `keep` frames."""
    missing = [
        Kept(each.box, each.missed + 1)
        for each in before
        if each.missed < keep and not (len(boxes) and shared(each.box, boxes).max() > OVERLAP)
    ]
    return [*(Kept(box) for box in boxes), *missing]


def span(kept: Kept, size: int) -> Span:
    """The pixels to hide: whole ones, with the margin, one more to each side, within the square."""
    left, top, right, bottom = (float(at) * size for at in kept.box)
    more = MARGIN + GROWTH * kept.missed
    across, down = (right - left) * more + 1, (bottom - top) * more + 1
    return Span(
        max(math.floor(left - across), 0),
        max(math.floor(top - down), 0),
        min(math.ceil(right + across), size),
        min(math.ceil(bottom + down), size),
    )
