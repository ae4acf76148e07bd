"""The predictor: from the past's tokens, a horizon and an action to the future's latent.

Owns: queries, the action's place, the latent read-out. Does not know: units, quantiles.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jepad.jepa.attention import Block
from jepad.jepa.config import Shape


class Predictor(nn.Module):
    """One query token a horizon beside the context's summary and newest patch, season, action."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.horizons = nn.Parameter(torch.randn(1, len(shape.horizons), shape.width) * 0.02)
        self.anchor_embed = nn.Linear(shape.anchors, shape.width)
        self.season_embed = nn.Linear(shape.season, shape.width)
        self.action_embed = nn.Linear(shape.action, shape.width)
        self.predictor_embed = nn.Linear(shape.width, shape.width)
        self.predictor_blocks = nn.ModuleList(Block(shape) for _ in range(shape.predictor_blocks))
        self.predictor_norm = nn.LayerNorm(shape.width, eps=1e-6)
        self.predictor_proj = nn.Linear(shape.width, shape.width)

    def forward(self, tokens: Tensor, anchors: Tensor, season: Tensor, action: Tensor) -> Tensor:
        """tokens [N,1+P,D], anchors [N,H,K], season [N,S], action [N,A] -> [N,H,D]."""
        context = self.predictor_embed(tokens[:, [0, -1]])
        queries = self.anchor_embed(torch.asinh(anchors)) + self.horizons + context[:, :1]
        sides = [context, self.season_embed(season)[:, None], self.action_embed(action)[:, None]]
        x = torch.cat([*sides, queries], 1)
        for block in self.predictor_blocks:
            x = block(x)
        out: Tensor = self.predictor_norm(x[:, -len(self.shape.horizons) :])
        return out

    def z_hat(self, queries: Tensor) -> Tensor:
        """The predicted latent of each horizon: [N, H, D]."""
        out: Tensor = self.predictor_proj(queries)
        return out
