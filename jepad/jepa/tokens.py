"""Telemetry to tokens: one per patch of a channel, and one for its statistics.

Owns: the embedding of patches. Tubelets of video would be a second class here, same output.
Does not know: how samples were normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jepad.jepa.config import Shape


class PatchTokens(nn.Module):
    """Token 0 summarises a channel, tokens 1.. are its patches, oldest first."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = nn.Linear(shape.patch * (shape.inputs + 1), shape.width)
        self.stats_embed = nn.Linear(shape.stats, shape.width)
        self.pos_embed = nn.Parameter(torch.randn(1, shape.patches + 1, shape.width) * 0.02)

    def forward(self, x: Tensor, valid: Tensor, stats: Tensor) -> Tensor:
        """x [N, T, I], valid [N, T], stats [N, S] -> [N, 1 + T/patch, D]."""
        s = self.shape
        patches = torch.cat(
            [
                x.reshape(-1, s.patches, s.patch * s.inputs),
                valid.reshape(-1, s.patches, s.patch),
            ],
            -1,
        )
        tokens = [self.stats_embed(stats)[:, None], self.patch_embed(patches)]
        return torch.cat(tokens, 1) + self.pos_embed
