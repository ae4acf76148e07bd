"""The predictor: from the past's tokens and a horizon to the future's latent.

Owns: queries, the latent read-out. Does not know: units, quantiles, actions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jepad.jepa.attention import Block
from jepad.jepa.config import Shape


class Predictor(nn.Module):
    """One query token a horizon beside the context's summary with the season, and newest patch."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.horizons = nn.Parameter(torch.randn(1, len(shape.horizons), shape.width) * 0.02)
        self.anchor_embed = nn.Linear(shape.anchors, shape.width)
        self.season_embed = nn.Linear(shape.season, shape.width)
        self.predictor_embed = nn.Linear(shape.width, shape.width)
        self.predictor_blocks = nn.ModuleList(
            Block(shape.block) for _ in range(shape.predictor_blocks)
        )
        self.predictor_norm = nn.LayerNorm(shape.width, eps=1e-6)
        self.predictor_proj = nn.Linear(shape.width, shape.width)

    def forward(self, tokens: Tensor, anchors: Tensor, season: Tensor) -> Tensor:
        """tokens [N,2,D], anchors [N,H,K], season [N,S] -> queries [N,H,D]."""
        context = self.predictor_embed(tokens)
        summary = context[:, :1] + self.season_embed(season)[:, None]
        queries = self.anchor_embed(torch.asinh(anchors)) + self.horizons + summary
        given = torch.cat([summary, context[:, 1:]], 1)
        asked = range(2, 2 + queries.shape[1])
        for block in self.predictor_blocks:  # what is known stays as it is
            queries = block(torch.cat([given, queries], 1), keep=asked)
        out: Tensor = self.predictor_norm(queries)
        return out

    def z_hat(self, queries: Tensor) -> Tensor:
        """The predicted latent of each horizon: [N, H, D]."""
        out: Tensor = self.predictor_proj(queries)
        return out
