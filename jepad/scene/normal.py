"""Layer norm without parameters, as in V-JEPA 2's targets and in every step of 2-AC.

Owns: the formula, in numpy. Does not know what is normed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EPS = 1e-5


def normed(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    out: NDArray[np.float32] = (centred / np.sqrt(variance + EPS)).astype(np.float32)
    return out
