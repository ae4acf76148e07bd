"""YuNet, a network that finds faces: what goes in and what comes out, in numpy.

Owns: its input (BGR, 0 to 255, planes), its grids of strides 8, 16 and 32, boxes from their
offsets, which of overlapping boxes stays. Does not know: onnxruntime, where pictures come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jepad.camera.shot import Square
from jepad.errors import EngineError

Floats = npt.NDArray[np.float32]

INPUT = "input"
STRIDES = (8, 16, 32)
OUTPUTS = tuple(f"{part}_{stride}" for part in ("cls", "obj", "bbox") for stride in STRIDES)
#: Boxes that share more of their union are one face.
OVERLAP = 0.3
#: So many at most, the surest: 3,000 faces do not fit, and suppression is quadratic.
MOST = 1000
#: exp() of more makes a box that no picture holds.
_LARGEST = 8.0


@dataclass(frozen=True, slots=True)
class Found:
    """Boxes left, top, right, bottom, of the picture's sides (0 to 1), surest first; scores."""

    boxes: Floats  # [N, 4]
    scores: Floats  # [N]


def feeds(view: Square) -> dict[str, Floats]:
    """uint8 RGB [H, W, 3] -> the network's input, padded by black to whole strides."""
    height, width = view.shape[:2]
    whole = STRIDES[-1]
    tall, wide = -(-height // whole) * whole, -(-width // whole) * whole
    planes = np.zeros((1, 3, tall, wide), np.float32)
    planes[0, :, :height, :width] = view[:, :, ::-1].transpose(2, 0, 1)
    return {INPUT: planes}


def found(
    outputs: Mapping[str, npt.NDArray[Any]], height: int, width: int, threshold: float
) -> Found:
    """The faces in a picture of that many pixels. EngineError if the numbers can't be YuNet's."""
    parts = [_of_stride(outputs, stride, (height, width)) for stride in STRIDES]
    boxes = np.concatenate([boxes for boxes, _ in parts])
    scores = np.concatenate([scores for _, scores in parts])
    sure = scores >= threshold
    boxes, scores = boxes[sure], scores[sure]
    order = np.argsort(-scores, kind="stable")[:MOST]
    boxes, scores = boxes[order], scores[order]
    kept = suppressed(boxes)
    sides = np.array([width, height, width, height], np.float32)
    return Found(np.clip(boxes[kept] / sides, 0, 1), scores[kept])


def _of_stride(
    outputs: Mapping[str, npt.NDArray[Any]], stride: int, size: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Boxes in pixels and scores of one grid; row by row, as the network lists them."""
    whole = STRIDES[-1]
    rows, columns = (-(-side // whole) * whole // stride for side in size)
    kind = _part(outputs, f"cls_{stride}", rows * columns, 1)[:, 0]
    there = _part(outputs, f"obj_{stride}", rows * columns, 1)[:, 0]
    offsets = _part(outputs, f"bbox_{stride}", rows * columns, 4)
    scores = np.sqrt(np.clip(kind, 0, 1) * np.clip(there, 0, 1))
    row, column = np.divmod(np.arange(rows * columns, dtype=np.int64), columns)
    corner = np.stack([column, row], 1).astype(np.float32)
    centre = (corner + offsets[:, :2]) * stride
    half = np.exp(np.minimum(offsets[:, 2:], _LARGEST)) * (stride / 2)
    boxes: Floats = np.concatenate([centre - half, centre + half], 1)
    return boxes, scores


def _part(
    outputs: Mapping[str, npt.NDArray[Any]], name: str, count: int, wide: int
) -> npt.NDArray[np.float32]:
    value = outputs.get(name)
    if value is None or value.shape != (1, count, wide):
        shape = "missing" if value is None else value.shape
        raise EngineError(f"the face model's {name} is {shape}, not (1, {count}, {wide})")
    if not np.isfinite(value).all():
        raise EngineError(f"the face model's {name} has numbers that are none")
    out: npt.NDArray[np.float32] = np.asarray(value[0], np.float32)
    return out


def suppressed(boxes: Floats, overlap: float = OVERLAP) -> list[int]:
    """Which stay, of boxes in order of preference: none overlaps an earlier one that stays."""
    kept: list[int] = []
    for index in range(len(boxes)):
        if not kept or shared(boxes[index], boxes[kept]).max() <= overlap:
            kept.append(index)
    return kept


def shared(box: Floats, others: Floats) -> Floats:
    """The part of the union that a box has in common with each of the others [N, 4]."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    out: Floats = both / np.maximum(areas - both, np.finfo(np.float32).tiny)
    return out
