"""Whether rounded weights may serve: their tokens and the planner's choices beside the exact ones.

Owns: what is compared, on which made-up clips. Does not know: limits (learn/video/gate.py), where
either side runs. Clips are made up: of real weights and real video this proves what it measures,
not more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jepad.errors import ModelError
from jepad.jepa.video.shape import ActionShape, EncoderShape
from jepad.learn.video import gate
from jepad.vision.grid import Grid

#: Patches a side: few, because the exact side runs on the host, whatever the model's size.
SIDE = 8
_CLIPS, _PLANS, _ACTIONS = 4, 10, 8
_SPAN = 0.05  # of the actions tried: metres a step, as DROID's


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared; patches [B, K, P] of `grid` -> tokens [B, K, D]."""

    exact: gate.Encode
    rounded: gate.Encode
    #: start, goal [1, K, D], actions [S, A] -> energies [S]; None of a model that knows no actions
    energies: gate.Energies | None = None


def grid(shape: EncoderShape) -> Grid:
    """Of the clips: one tubelet, at most SIDE patches a side."""
    side = min(SIDE, shape.size // shape.patch)
    return Grid(1, side, side)


def measured(shape: EncoderShape, action: ActionShape | None, sides: Sides) -> gate.Accuracy:
    """The three figures of the gate."""
    tokens = grid(shape).tokens
    clips = gate.clips(_CLIPS, tokens, shape.inputs)
    found = gate.tokens_alike(sides.exact(clips), sides.rounded(clips))
    if action is None or sides.energies is None:
        return found
    draws = gate.clips(2 * _PLANS, tokens, shape.inputs, seed=1)
    pairs = [(draws[i : i + 1], draws[i + 1 : i + 2]) for i in range(0, 2 * _PLANS, 2)]
    tried = np.random.default_rng(0).uniform(-_SPAN, _SPAN, (_ACTIONS, action.actions))
    both = (sides.exact, sides.rounded)
    same = gate.choices_alike(pairs, both, sides.energies, tried.astype(np.float32))
    return replace(found, agreement=same)


def passed(name: str, precision: str, found: gate.Accuracy) -> None:
    """ModelError unless the figures are within the limits; it names those that aren't."""
    if low := found.missed():
        raise ModelError(
            f"model {name} in {precision} is too far from exact: {low}; use --precision bf16"
        )
