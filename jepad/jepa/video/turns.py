"""Rotary tables as an attention takes them: on its device, kept once made.

Owns: the cache, the choice of a masked clip's rows. Does not know: how a table is filled.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from jepad.jepa.attention import Turn
from jepad.vision.grid import Grid, Rope, positions, tables


@lru_cache(maxsize=16)
def whole(rope: Rope, grid: Grid, device: str = "cpu") -> Turn:
    """Of every token of a grid: tables [tokens, head], float32."""
    cos, sin = tables(rope, positions(grid, rescale=rope.rescale))
    with torch.inference_mode(False):  # or what is made while serving could never train
        return Turn(torch.from_numpy(cos).to(device), torch.from_numpy(sin).to(device))


def chosen(turn: Turn, keep: Tensor) -> Turn:
    """Of the tokens `keep` [B, K] of a whole grid's: tables [B, 1, K, head]; they keep the places
    they have in the full grid."""
    return Turn(turn.cos[keep][:, None], turn.sin[keep][:, None], turn.halves)
