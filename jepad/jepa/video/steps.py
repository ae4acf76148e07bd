"""Where the tokens of an action-conditioned step lie.

Owns: the order of a step (action, state, extrinsics if any, patches) and its positions.
Does not know: torch, what is predicted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepad.vision.grid import Grid, positions

#: Tokens of a step before its patches: action and state.
CONDITIONS = 2


def places(
    grid: Grid, first: int = 0, steps: int = 1, conditions: int = CONDITIONS
) -> NDArray[np.float64]:
    """[steps * (conditions + rows*columns), 3] positions t, h, w of the steps from `first` on;
    of `grid`, only rows and columns count.

    Conditions turn with time alone. On a frame that isn't square, w runs as far as h does.
    """
    patches = positions(Grid(steps, grid.rows, grid.columns)).reshape(steps, -1, 3).copy()
    patches[..., 2] *= grid.rows / grid.columns
    patches[..., 0] += first
    told = np.zeros((steps, conditions, 3))
    told[..., 0] = np.arange(first, first + steps)[:, None]
    return np.concatenate([told, patches], 1).reshape(-1, 3)
