"""Where a video's patches lie, and the rotary tables that tell an attention so.

Owns: token order, positions, the two layouts of V-JEPA 2's rotary tables.
Does not know: pixels, weights, torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from jepad.errors import SettingError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: How the frequencies of one axis fill its part of a head. The entries 2i and 2i + 1 turn
#: together; "tiled" (2.0, 2-AC) turns them by different angles, which those weights depend on.
#: The wrong one still runs, and gives other embeddings.
Layout = Literal["tiled", "interleaved"]

#: Rows and columns that 2.1 was trained on: its encoder squeezes every grid into these positions.
TRAINED = 16


@dataclass(frozen=True, slots=True)
class Grid:
    """Tubelets in time and patches in space; token = (step · rows + row) · columns + column."""

    steps: int
    rows: int
    columns: int

    def __post_init__(self) -> None:
        if min(self.steps, self.rows, self.columns) < 1:
            raise SettingError(f"a grid needs at least one token along each axis, not {self}")

    @property
    def frame(self) -> int:
        """Tokens of one step."""
        return self.rows * self.columns

    @property
    def tokens(self) -> int:
        """Of the whole clip."""
        return self.steps * self.frame


@dataclass(frozen=True, slots=True)
class Rope:
    """The rotary embedding of a model. `layout` has no default: it is a fact about weights."""

    layout: Layout
    head: int  # entries of one attention head
    rescale: bool = False  # h and w squeezed to 0..15, whatever the grid
    theta: float = 10000.0

    def __post_init__(self) -> None:
        if self.layout not in ("tiled", "interleaved"):
            raise SettingError(f"rope layout is 'tiled' or 'interleaved', not {self.layout!r}")
        if self.head < 6 or self.head % 2:
            raise SettingError(f"a rotary head has an even number of entries ≥ 6, not {self.head}")

    @property
    def axis(self) -> int:
        """Entries that turn for one of t, h, w; what remains of the head isn't turned."""
        return 2 * (self.head // 3 // 2)


def positions(grid: Grid, keep: npt.ArrayLike | None = None, rescale: bool = False) -> Doubles:
    """t, h, w of every token, or of those in `keep` (indices [..., K] of the full grid; masked
    tokens keep their place) -> float64 [..., K, 3].

    `rescale`: h and w · 15 / (n - 1). For n = 1 that is 0/0 in Meta's code; here it is 0.
    SettingError: an index that isn't in the grid.
    """
    index = np.arange(grid.tokens) if keep is None else _indices(keep, grid)
    step, place = np.divmod(index, grid.frame)
    row, column = np.divmod(place, grid.columns)
    out = np.stack([step, row, column], -1).astype(np.float64)
    if rescale:
        for axis, count in ((1, grid.rows), (2, grid.columns)):
            out[..., axis] *= (TRAINED - 1) / max(count - 1, 1)
    return out


def tables(rope: Rope, places: Doubles, halves: bool = False) -> tuple[Floats, Floats]:
    """places [..., K, 3] as `positions` gives them (fractions are allowed) -> cos, sin, float32
    [..., K, head], for `jepad.jepa.attention.Turn`.

    `halves`: of a head whose entries were put in `halves_order`.
    """
    if places.ndim < 2 or places.shape[-1] != 3:
        raise SettingError(f"positions are [..., K, 3], not {list(places.shape)}")
    half = rope.axis // 2
    frequency = rope.theta ** -(np.arange(half) / half)
    angle = places[..., None] * frequency  # [..., K, 3, half]
    if rope.layout == "tiled":
        angle = np.concatenate([angle, angle], -1)
    else:
        angle = np.repeat(angle, 2, -1)
    whole = np.zeros((*places.shape[:-1], rope.head))
    whole[..., : 3 * rope.axis] = angle.reshape(*places.shape[:-1], -1)
    if halves:
        whole = whole[..., halves_order(rope.head)]
    return np.cos(whole).astype(np.float32), np.sin(whole).astype(np.float32)


def halves_order(head: int) -> Indices:
    """int64 [head]: new entry i of every q and k head is old entry order[i]. Then entries i and
    i + head / 2 turn together; scores don't change, and an exported graph is far smaller."""
    return np.arange(head, dtype=np.int64).reshape(-1, 2).T.reshape(-1)


def _indices(keep: npt.ArrayLike, grid: Grid) -> npt.NDArray[np.integer[Any]]:
    index = np.asarray(keep)
    if not np.issubdtype(index.dtype, np.integer):
        raise SettingError(f"token indices are integers, not {index.dtype}")
    if index.size and (index.min() < 0 or index.max() >= grid.tokens):
        raise SettingError(
            f"token {int(index.min())}..{int(index.max())} asked of a grid of {grid.tokens}"
        )
    return index
