"""How far what is in a cell has moved since the frame before, and histograms of it.

Owns: the search for the best match, its refinement below a pixel, the bins.
Does not know: which cells matter, time, who asks. Everything is a pure function.

A patch of every asked cell is looked for in the frame before, within REACH pixels each way, and
moves only where that is clearly better than staying: on flat ground and in noise it says 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

#: Pixels of the plane given, each way.
REACH = 4
#: A plane's pixels in a cell, and beyond it on every side that are compared along.
CELL, MARGIN = 4, 2
#: Grey levels that a match must be better by, a pixel of distance.
PENALTY = 0.15
#: Upper edges of the bins of `speeds`, in pixels of the plane a frame; the last one is open.
EDGES = (0.25, 1.0, 1.6, 2.3, 3.2, 4.1)

_STEPS = np.arange(-REACH, REACH + 1, dtype=np.float32)
_COST = (PENALTY * np.hypot(_STEPS[:, None], _STEPS[None])).astype(np.float32)
_SIDE = CELL + 2 * MARGIN


def flow(before: Floats, now: Floats, where: Flags) -> Floats:
    """Planes [R·CELL, C·CELL] in grey levels, cells asked for [R, C] -> float32 [R, C, 2]: pixels
    down and right since `before`; 0 in the cells that weren't asked for."""
    out = np.zeros((*where.shape, 2), np.float32)
    if not where.any():
        return out
    there = _cut(before, where, MARGIN + REACH)
    here = _cut(now, where, MARGIN)
    places = sliding_window_view(there, (_SIDE, _SIDE), (1, 2))
    apart = np.abs(places - here[:, None, None]).reshape(len(here), -1, _SIDE * _SIDE)
    cost = apart.mean(2).reshape(len(here), len(_STEPS), len(_STEPS)) + _COST
    out[where] = -_least(cost)
    return out


def speeds(moved: Floats) -> Floats:
    """Of cells [..., 2], the share whose speed is in each bin: float32 [len(EDGES) + 1]."""
    speed = np.hypot(moved[..., 0], moved[..., 1]).ravel()
    counts = np.bincount(np.searchsorted(EDGES, speed, "right"), minlength=len(EDGES) + 1)
    return (counts / max(speed.size, 1)).astype(np.float32)


def _cut(plane: Floats, where: Flags, margin: int) -> Floats:
    """The cells asked for with their margin, [N, CELL + 2·margin, the same]."""
    side = CELL + 2 * margin
    windows = sliding_window_view(np.pad(plane, margin, mode="edge"), (side, side))
    cut: Floats = windows[::CELL, ::CELL][where]
    return cut


def _least(cost: Floats) -> Floats:
    """Where each cost [N, S, S] is least, in steps from the middle, below a step by a parabola
    along each axis: [N, 2]."""
    row, column = np.divmod(cost.reshape(len(cost), -1).argmin(1), len(_STEPS))
    n, last = np.arange(len(cost)), len(_STEPS) - 1
    rows = (cost[n, np.maximum(row - 1, 0), column], cost[n, np.minimum(row + 1, last), column])
    columns = (cost[n, row, np.maximum(column - 1, 0)], cost[n, row, np.minimum(column + 1, last)])
    middle = cost[n, row, column]
    still = (row == REACH) & (column == REACH)
    shift = [
        np.where(still | (at == 0) | (at == last), 0, _vertex(low, middle, high))
        for at, (low, high) in ((row, rows), (column, columns))
    ]
    at = np.stack([row - REACH + shift[0], column - REACH + shift[1]], 1)
    return at.astype(np.float32)


def _vertex(low: Floats, middle: Floats, high: Floats) -> Floats:
    """Of the parabola through three points a step apart; within half a step of the middle."""
    bend = low - 2 * middle + high
    at = 0.5 * (low - high) / np.maximum(bend, 1e-6)
    within: Floats = np.clip(at, -0.5, 0.5).astype(np.float32)
    return within
