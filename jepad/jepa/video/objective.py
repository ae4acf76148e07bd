"""What video training minimises: L1 to the target's tokens, where they were hidden, where they
were seen, and where actions lead.

Owns: V-JEPA 2's, 2.1's and 2-AC's terms. Does not know: optimisers, where clips come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from jepad.errors import SettingError
from jepad.jepa.losses import l1
from jepad.jepa.target import normed
from jepad.jepa.video.action import ActionPredictor, Given, Past
from jepad.vision.grid import Grid


@dataclass(frozen=True, slots=True)
class Seen:
    """How much 2.1's context term counts: nothing until `first`, all of `most` from the iteration
    `last` on. Default: as in pre-training; the cool-down has `Seen(0.5, 0, 0, near=False)`."""

    most: float = 0.5
    first: int = 15_000
    last: int = 30_000
    near: bool = True  # each token by its `nearness`

    def weight(self, iteration: int) -> float:
        """At an iteration, from 0 on."""
        if iteration >= self.last:
            return self.most
        return self.most * max(iteration - self.first, 0) / (self.last - self.first)


def chosen(tokens: Tensor, indices: Tensor) -> Tensor:
    """tokens [B, N, D] at indices [B, K] -> [B, K, D]."""
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))


def masked_losses(
    predicted: Sequence[Tensor],
    target: Tensor,
    indices: Sequence[Tensor],
    weights: Sequence[Tensor] | None = None,
) -> Tensor:
    """[M]: the loss of each mask set, whose mean is minimised. predicted[m] [B, K, D] stands for
    target [B, N, D] (layer-normed) at indices[m] [B, K]; weights[m] [B, K] of its tokens."""
    wanted = [chosen(target, index) for index in indices]
    if weights is None:
        pairs = zip(predicted, wanted, strict=True)
        return torch.stack([l1(z, tokens) for z, tokens in pairs])
    triples = zip(predicted, wanted, weights, strict=True)
    return torch.stack([l1(z, tokens, weight) for z, tokens, weight in triples])


def nearness(grid: Grid, context: Tensor, targets: Tensor) -> Tensor:
    """The weight of a token that was seen: 1 / √d, d its Euclidean distance in (t, h, w) to the
    nearest hidden one. context [B, Kc], targets [B, Kt] -> float32 [B, Kc]."""
    exact = "donot_use_mm_for_euclid_dist"
    apart = torch.cdist(_place(grid, context), _place(grid, targets), compute_mode=exact).amin(2)
    return apart.clamp(min=1).rsqrt()  # neighbours are 1 apart; only masks that overlap are nearer


class Imagined(NamedTuple):
    """The two forms of the same future, layer-normed."""

    taught: Tensor  # [B, (T-1)*K, D]: every frame from the true ones before it
    alone: Tensor  # [B, steps*K, D]: from the first frame on, each from what was imagined before


def imagine(predictor: ActionPredictor, tokens: Tensor, given: Given, steps: int = 2) -> Imagined:
    """tokens [B, T*K, D], layer-normed, of T frames; given: actions [B, T-1, A] between them,
    states and extrinsics [B, T, ·] at them.

    SettingError: fewer than two frames, or more steps than actions.
    """
    between = given.action.shape[1]
    if not 1 <= steps <= between:
        raise SettingError(f"{steps} steps of imagination along {between} actions: 1 to {between}")
    frame = tokens.shape[1] // (between + 1)
    taught = normed(predictor(tokens[:, : between * frame], given.at(slice(between))))
    past: Past | None = None
    frames = [tokens[:, :frame]]
    for i in range(steps):
        keep = i + 1 < steps
        following, past = predictor.step(frames[-1], given.at(i), past, predictor.turn(i), keep)
        frames.append(normed(following))
    return Imagined(taught, torch.cat(frames[1:], 1))


def action_losses(imagined: Imagined, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Of teacher forcing and of imagination, whose sum is minimised; tokens as `imagine` takes."""
    later = tokens[:, tokens.shape[1] - imagined.taught.shape[1] :]
    return l1(imagined.taught, later), l1(imagined.alone, later[:, : imagined.alone.shape[1]])


def _place(grid: Grid, indices: Tensor) -> Tensor:
    """[..., K] -> float32 [..., K, 3] in steps, rows and columns."""
    within = indices % grid.frame
    places = (indices // grid.frame, within // grid.columns, within % grid.columns)
    return torch.stack(places, -1).float()
