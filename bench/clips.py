"""Encoders and clips to measure with: the published sizes, weights that nobody trained.

Owns: their shapes, seeds, rotary tables. Does not know: what is measured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from jepad.jepa.attention import Turn
from jepad.jepa.video.action import ActionPredictor
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.shape import ActionShape, AnyShape, EncoderShape
from jepad.vision.grid import Grid, Rope, positions, tables

RANDOM = "Weights are random: real ones are not reachable where this was measured."
#: V-JEPA 2's blocks at ViT-S size: 256 tokens of 128 × 128 pixels and 8 frames.
SMALL = EncoderShape(
    width=384, depth=12, heads=6, hidden=1536, size=128, frames=8, layout="tiled"
)  # fmt: skip
#: The same, 1568 tokens.
LONGER = replace(SMALL, size=224, frames=16)


def network(shape: AnyShape, seed: int = 0) -> Any:
    """A part in evaluation mode, float32 on the CPU; linears N(0, .02) as published ones start."""
    torch.manual_seed(seed)
    made = {EncoderShape: VideoEncoder, ActionShape: ActionPredictor}[type(shape)](shape)
    made.eval().requires_grad_(False)
    for layer in made.modules():
        if isinstance(layer, nn.Linear | nn.Conv3d):
            nn.init.trunc_normal_(layer.weight, std=0.02)
    return made


def encoder(shape: EncoderShape, seed: int = 0) -> VideoEncoder:
    """As `network`."""
    return cast(VideoEncoder, network(shape, seed))


def square(steps: int, side: int) -> Grid:
    """Of as many rows as columns."""
    return Grid(steps, side, side)


def patches(shape: EncoderShape, batch: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """Noise of a clip's size: [batch, K, P]."""
    draws = np.random.default_rng(seed)
    size = (batch, shape.grid.tokens, shape.inputs)
    return draws.standard_normal(size, dtype=np.float32)


def turning(
    shape: EncoderShape, keep: NDArray[np.int64] | None = None, halves: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """cos, sin [1, K, head] of a clip's tokens, or of those kept."""
    rope: Rope = shape.rope
    cos, sin = tables(rope, positions(shape.grid, keep, rope.rescale), halves)
    return cos[None], sin[None]


def turn(shape: EncoderShape, keep: NDArray[np.int64] | None = None) -> Turn:
    """The same for torch, of a head as it is published."""
    cos, sin = turning(shape, keep)
    return Turn(torch.from_numpy(cos), torch.from_numpy(sin))


def kept(shape: EncoderShape, share: float, seed: int = 0) -> NDArray[np.int64]:
    """Indices of a random share of the tokens, in order."""
    count = round(shape.grid.tokens * share)
    chosen = np.random.default_rng(seed).permutation(shape.grid.tokens)[:count]
    return np.sort(chosen).astype(np.int64)
