"""What is done to pixels: mosaics, blurs and fills on uint8 [H, W, 3].

Owns: the arithmetic, how coarse is coarse enough. Does not know why something is hidden.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from jepad.camera.shot import Shot, Square

Mask = npt.NDArray[np.bool_]
Way = Literal["pixelate", "blur"]

#: ImageNet's mean in RGB: once a frame is normalised, a hidden place is nought to a model.
FILL = (124, 116, 104)
#: Cells across a whole frame that must not be recognised, and across a hidden face.
CLOSED_CELLS = 8
FACE_CELLS = 3


class Span(NamedTuple):
    """A box of whole pixels, right and bottom not included."""

    left: int
    top: int
    right: int
    bottom: int


class Pixelate:
    """The whole frame in blocks."""

    def __init__(self, block: int) -> None:
        self.name = f"pixelate {block}"
        self._block = block

    def __call__(self, _shot: Shot, pixels: Square) -> Square:
        """A new picture."""
        return pixelated(pixels, self._block)


def pixelated(pixels: Square, block: int) -> Square:
    """A new picture of blocks, each of its own mean colour; the last ones may be narrower."""
    height, width = pixels.shape[:2]
    rows, columns = np.arange(0, height, block), np.arange(0, width, block)
    sums = np.add.reduceat(pixels, rows, axis=0, dtype=np.uint32)
    sums = np.add.reduceat(sums, columns, axis=1)
    down = np.diff(np.append(rows, height))
    across = np.diff(np.append(columns, width))
    counts = (down[:, None] * across)[..., None]
    means = ((sums + counts // 2) // counts).astype(np.uint8)
    out: Square = np.repeat(np.repeat(means, down, axis=0), across, axis=1)
    return out


def closed(pixels: Square) -> Square:
    """A new picture in which nobody can be recognised: what is shared when a filter fails."""
    return pixelated(pixels, _cell(pixels, CLOSED_CELLS))


def hide(pixels: Square, span: Span, way: Way = "pixelate") -> None:
    """In place: the box becomes a mosaic of a few cells, or as little by blurring."""
    part = pixels[span.top : span.bottom, span.left : span.right]
    if part.size == 0:
        return
    cell = _cell(part, FACE_CELLS)
    part[:] = pixelated(part, cell) if way == "pixelate" else _blurred(part, cell)


def _cell(pixels: Square, count: int) -> int:
    """The side of a cell, of `count` or fewer across."""
    height, width = pixels.shape[:2]
    cell: int = -(-max(height, width) // count)
    return cell


def _blurred(part: Square, radius: int) -> Square:
    """Means of (2 radius + 1)² pixels, twice: nothing is left that is smaller than the radius."""
    out = part.astype(np.float64)
    for _ in range(2):
        for axis in (0, 1):
            out = _run(out, axis, radius)
    rounded: Square = np.rint(out).astype(np.uint8)
    return rounded


def _run(values: npt.NDArray[np.float64], axis: int, radius: int) -> npt.NDArray[np.float64]:
    """Means along one axis; beyond its edge the box is mirrored."""
    pad = [(0, 0)] * 3
    pad[axis] = (radius + 1, radius)
    sums = np.cumsum(np.pad(values, pad, mode="symmetric"), axis=axis)
    count, wide = values.shape[axis], 2 * radius + 1
    late = np.take(sums, np.arange(wide, wide + count), axis)
    early = np.take(sums, np.arange(count), axis)
    out: npt.NDArray[np.float64] = (late - early) / wide
    return out
