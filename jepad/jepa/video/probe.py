"""The attentive probe of V-JEPA 2: tokens of a clip in, the class of what happens in it out.

Owns: the network, parameters named as Meta names them. Does not know: what the classes are called.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepad.jepa.attention import Block, Mlp
from jepad.jepa.config import BlockShape
from jepad.jepa.video.shape import ProbeShape


class CrossAttention(nn.Module):
    """A query asks tokens; heads are joined, and not projected again."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.q = nn.Linear(shape.width, shape.width)
        self.kv = nn.Linear(shape.width, 2 * shape.width)

    def forward(self, query: Tensor, x: Tensor) -> Tensor:
        """query [B, M, D], x [B, N, D] -> [B, M, D]."""
        k, v = self.kv(x).chunk(2, -1)
        split = [part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (k, v)]
        q = self.q(query).unflatten(2, (self.heads, -1)).transpose(1, 2)
        return functional.scaled_dot_product_attention(q, *split).transpose(1, 2).flatten(2)


class CrossBlock(nn.Module):
    """The query is neither normalised nor projected on its way past the attention."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=shape.eps)
        self.xattn = CrossAttention(shape)
        self.norm2 = nn.LayerNorm(shape.width, eps=shape.eps)
        self.mlp = Mlp(shape)

    def forward(self, query: Tensor, x: Tensor) -> Tensor:
        """query [B, M, D], x [B, N, D] -> [B, M, D]."""
        query = query + self.xattn(query, self.norm1(x))
        out: Tensor = query + self.mlp(self.norm2(query))
        return out


class Pooler(nn.Module):
    """Self-attention without positions, then one learned query."""

    def __init__(self, shape: ProbeShape) -> None:
        super().__init__()
        self.query_tokens = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.cross_attention_block = CrossBlock(shape.block)
        self.blocks = nn.ModuleList(Block(shape.block) for _ in range(shape.depth - 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, K, D] -> [B, 1, D]."""
        for block in self.blocks:
            tokens = block(tokens)
        out: Tensor = self.cross_attention_block(
            self.query_tokens.expand(len(tokens), -1, -1), tokens
        )
        return out


class AttentiveProbe(nn.Module):
    """Takes Meta's state dict of a classifier strictly."""

    def __init__(self, shape: ProbeShape) -> None:
        super().__init__()
        self.shape = shape
        self.pooler = Pooler(shape)
        self.linear = nn.Linear(shape.width, shape.classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, K, D] of an encoder -> logits [B, classes]."""
        logits: Tensor = self.linear(self.pooler(tokens).squeeze(1))
        return logits
