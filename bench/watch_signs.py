"""What is told of a clip or a frame before anything ranks it: differences, flow, random features.

Owns: the descriptions compared by `bench watch`. Does not know: labels, folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from bench import clips
from jepad.jepa.video.encoder import VideoEncoder
from jepad.vision.flow import speeds
from jepad.vision.motion import Motion
from jepad.vision.patches import unfold
from jepad.vision.preprocess import normalised

Array = NDArray[np.float64]

#: V-JEPA 2's blocks at ViT-Ti size, 8 frames of 112 × 112 pixels: 196 tokens.
TINY = replace(clips.SMALL, width=192, heads=3, hidden=768, size=112, frames=8)
_LEVELS = (4.0, 8.0, 16.0)  # grey levels that a cell's difference passes
_TURNS = (0.1, 1.1, 1.6, 2.3, 3.2, 4.1, 6.0)  # blocks by which a cell's flow changes in a frame


def differences(motions: Sequence[Motion]) -> Array:
    """Of a clip: how large its cells' differences are, how that varies and peaks."""
    score = np.stack([m.score.ravel() for m in motions])
    order = np.sort(score, 1)
    each = [order[:, -1], order[:, -10:].mean(1), order.mean(1), np.median(order, 1)]
    each += [(score > level).mean(1) for level in _LEVELS]
    rows = np.log1p(np.stack(each, 1))
    return np.concatenate([rows.mean(0), rows.std(0), rows.max(0)])


def flows(motions: Sequence[Motion]) -> Array:
    """Of a clip: histograms of its cells' speeds and of how these change, and how it varies."""
    moved = np.stack([m.flow.reshape(-1, 2) for m in motions])
    speed = np.hypot(moved[..., 0], moved[..., 1])
    fast = np.sort(speed, 1)[:, -10:].mean(1)
    whole = np.hypot(*moved.mean(1).T)
    apart = np.linalg.norm(moved - moved.mean(1, keepdims=True), axis=-1).mean(1)
    each = [speed.mean(1), fast, (speed > 0).mean(1), (speed > 2).mean(1), whole, apart]
    rows = np.stack(each, 1)
    turned = np.linalg.norm(np.diff(moved, axis=0), axis=-1).ravel()
    bins = np.bincount(np.searchsorted(_TURNS, turned, "right"), minlength=len(_TURNS) + 1)
    shares = np.concatenate([speeds(moved), bins / max(turned.size, 1)])
    return np.concatenate([rows.mean(0), rows.std(0), np.sqrt(shares)])


def bands(motion: Motion, count: int = 4) -> Array:
    """Of a frame: histograms of speed and direction in bands from top to bottom, square roots."""
    speed = np.hypot(motion.flow[..., 0], motion.flow[..., 1])
    angle = np.arctan2(motion.flow[..., 0], motion.flow[..., 1])
    sector = np.floor((angle + np.pi) / (2 * np.pi) * 8 - 1e-9).astype(int).clip(0, 7)
    fast = np.searchsorted((0.25, 1.6, 3.2), speed, "right")
    place = np.where(fast == 0, 0, 1 + (fast - 1) * 8 + sector)
    parts = np.array_split(place, count)
    return np.concatenate([np.sqrt(np.bincount(p.ravel(), minlength=25) / p.size) for p in parts])


def tokens(frames: NDArray[np.uint8], seed: int = 0) -> NDArray[np.float32]:
    """Of a window uint8 [T, 224, 224, 3], any T: what an encoder that nobody trained says,
    [K, D]."""
    wanted = np.linspace(0, len(frames) - 1, TINY.frames).round().astype(int)
    small = frames[wanted].astype(np.float32)
    side = TINY.size
    step = small.shape[1] // side
    small = small.reshape(len(wanted), side, step, side, step, 3).mean((2, 4))
    patches = unfold(normalised(small.astype(np.uint8)))
    with torch.inference_mode():
        out = _network(seed)(torch.from_numpy(patches[None]), clips.turn(TINY))
    found: NDArray[np.float32] = out[0].float().numpy()
    return found


def random_features(frames: NDArray[np.uint8]) -> Array:
    """Of a clip: mean and deviation of those tokens, and how far they go from step to step."""
    found = tokens(frames).astype(np.float64)
    gone = np.abs(np.diff(found.reshape(TINY.grid.steps, -1, found.shape[1]), axis=0))
    return np.concatenate([found.mean(0), found.std(0), gone.mean((0, 1))])


@cache
def _network(seed: int) -> VideoEncoder:
    return clips.encoder(TINY, seed)
