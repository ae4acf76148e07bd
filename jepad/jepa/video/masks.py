"""Multi-block masks: which tokens of a clip the encoder sees, and which are to be predicted.

Owns: V-JEPA 2's draw, number for number. Does not know: the network, the losses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from jepad.errors import SettingError
from jepad.vision.grid import Grid

_TRIES = 1000


@dataclass(frozen=True, slots=True)
class Blocks:
    """One mask set: `count` blocks of one size a batch, hidden from the encoder.

    Ranges are uniform: the share of a frame's patches, the share of the steps, and the
    height of a block by its width.
    """

    count: int
    spatial: tuple[float, float]
    temporal: tuple[float, float] = (1.0, 1.0)
    aspect: tuple[float, float] = (0.75, 1.5)


#: The two sets that V-JEPA 2.0 and 2.1 were trained with on video.
VIDEO = (Blocks(8, (0.15, 0.15)), Blocks(2, (0.7, 0.7)))
#: The set of V-JEPA 2.1 on single images.
IMAGE = (Blocks(10, (0.15, 0.15)),)


class Masks(NamedTuple):
    """Token indices t*H*W + h*W + w, rising, int64; all rows are cut to the shortest, so the two
    need not cover the grid."""

    context: Tensor  # [B, Kc]
    targets: Tensor  # [B, Kt]


def draw(
    blocks: Blocks, grid: Grid, batch: int, iteration: int, places: torch.Generator | None = None
) -> Masks:
    """Masks of `batch` clips, as published: `iteration` alone decides the size of the blocks,
    `places` (default: torch's own generator) where they lie.

    SettingError: a batch below 1, or blocks that hide the whole grid.
    """
    if batch < 1:
        raise SettingError(f"masks for a batch of {batch}: at least 1")
    size = block_size(blocks, grid, torch.Generator().manual_seed(iteration))
    pairs = [_pair(blocks, grid, size, places) for _ in range(batch)]
    seen = min(len(context) for context, _ in pairs)
    asked = min(len(targets) for _, targets in pairs)
    return Masks(
        torch.stack([context[:seen] for context, _ in pairs]),
        torch.stack([targets[:asked] for _, targets in pairs]),
    )


def block_size(blocks: Blocks, grid: Grid, sizes: torch.Generator) -> Grid:
    """The steps, rows and columns of every block of one batch."""

    def within(ends: tuple[float, float]) -> float:
        return ends[0] + torch.rand(1, generator=sizes).item() * (ends[1] - ends[0])

    steps = max(1, int(grid.steps * within(blocks.temporal)))
    patches = int(grid.rows * grid.columns * within(blocks.spatial))
    aspect = within(blocks.aspect)
    rows = min(round(math.sqrt(patches * aspect)), grid.rows)
    columns = min(round(math.sqrt(patches / aspect)), grid.columns)
    if not rows or not columns:
        raise SettingError(
            f"blocks of {patches} patches in a frame of {grid.rows}×{grid.columns}: nothing to hide"
        )
    return Grid(steps, rows, columns)


def _pair(
    blocks: Blocks, grid: Grid, size: Grid, places: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Context and targets of one clip; drawn again while nothing is left to see."""

    def place(span: int, whole: int) -> slice:
        first = int(torch.randint(0, whole - span + 1, (1,), generator=places))
        return slice(first, first + span)

    for _ in range(_TRIES):
        seen = torch.ones(grid.steps, grid.rows, grid.columns, dtype=torch.bool)
        for _ in range(blocks.count):
            rows, columns = place(size.rows, grid.rows), place(size.columns, grid.columns)
            seen[place(size.steps, grid.steps), rows, columns] = False
        flat = seen.flatten()
        if flat.any():
            return flat.nonzero()[:, 0], (~flat).nonzero()[:, 0]
    raise SettingError(
        f"{blocks.count} blocks of {size.steps}×{size.rows}×{size.columns} hide the whole grid of "
        f"{grid.steps}×{grid.rows}×{grid.columns} tokens: smaller blocks, or fewer"
    )
