"""Context encoder and its slow twin, the target encoder.

Owns: what is read of the past, and the EMA. Does not know: horizons, forecasts.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from jepad.jepa.attention import Block
from jepad.jepa.config import Shape
from jepad.jepa.target import follow, normed
from jepad.jepa.tokens import PatchTokens

HIDE = -1e4


class ContextEncoder(nn.Module):
    """Attention over time within a channel, then over channels between their summaries."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = PatchTokens(shape)
        self.blocks = nn.ModuleList(Block(shape.block) for _ in range(shape.time_blocks))
        self.channel_blocks = nn.ModuleList(Block(shape.block) for _ in range(shape.time_blocks))
        self.norm = nn.LayerNorm(shape.width, eps=1e-6)

    def forward(self, x: Tensor, valid: Tensor, stats: Tensor) -> Tensor:
        """x [B,C,T,I], valid [B,C,T], stats [B,C,S] -> [B*C, 2, D]: each channel's summary and
        its newest patch."""
        b, c = x.shape[0], x.shape[1]
        s = self.shape
        tokens = self.tokens(
            x.reshape(-1, s.context, s.inputs),
            valid.reshape(-1, s.context),
            stats.reshape(-1, s.stats),
        )
        seen = valid.reshape(-1, s.patches, s.patch).amax(-1)
        seen = torch.cat([torch.ones_like(seen[:, :1]), seen], 1)
        past = ((1 - seen) * HIDE)[:, None, None]
        absent = ((1 - valid.amax(-1)) * HIDE)[:, None, None]
        last = len(self.blocks) - 1
        for i, (time, channel) in enumerate(zip(self.blocks, self.channel_blocks, strict=True)):
            tokens = time(tokens, past, (0, s.patches) if i == last else None)
            summary = channel(tokens[:, 0].reshape(b, c, s.width), absent)
            tokens = torch.cat([summary.reshape(-1, 1, s.width), tokens[:, 1:]], 1)
        out: Tensor = self.norm(tokens)
        return out


def latent(tokens: Tensor) -> Tensor:
    """The embedding z of each channel: its summary token, layer-normed without parameters."""
    return normed(tokens[:, 0])


class TargetEncoder(nn.Module):
    """An exponential moving average of the context encoder; it never gets a gradient."""

    def __init__(self, encoder: ContextEncoder) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)

    def follow(self, encoder: ContextEncoder, momentum: float) -> None:
        """Move towards `encoder` by 1 - momentum."""
        follow(self.encoder, encoder, momentum)

    @torch.no_grad()
    def forward(self, x: Tensor, valid: Tensor, stats: Tensor) -> Tensor:
        """As the context encoder's, then its latent: [B*C, D]."""
        return latent(self.encoder(x, valid, stats))
