"""The one transformer block: over time, over channels, in encoder and predictor alike.

Owns: attention, MLP, residuals, with the parameter names of V-JEPA 2 (attn.qkv, mlp.fc1, ...).
Does not know: what a token stands for.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jepad.jepa.config import Shape


class Attention(nn.Module):
    """Multi-head self-attention; `hidden` is added to the scores (a large negative hides a key)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.scale = (shape.width // shape.heads) ** -0.5
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """x [B, N, D], hidden [B, 1, 1, N] -> [B, N, D]."""
        b, n, d = x.shape
        qkv = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        # Written out: for a dozen tokens this is faster than the fused kernel, on CPU.
        scores = (q @ k.transpose(-1, -2)) * self.scale
        if hidden is not None:
            scores = scores + hidden
        out = scores.softmax(-1) @ v
        mixed: Tensor = self.proj(out.transpose(1, 2).reshape(b, n, d))
        return mixed


class Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.fc1 = nn.Linear(shape.width, shape.mlp_ratio * shape.width)
        self.fc2 = nn.Linear(shape.mlp_ratio * shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, N, D] -> [B, N, D]."""
        out: Tensor = self.fc2(torch.nn.functional.gelu(self.fc1(x), approximate="tanh"))
        return out


class Block(nn.Module):
    """Attention then MLP, each on normalised tokens and added to them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=1e-6)
        self.attn = Attention(shape)
        self.norm2 = nn.LayerNorm(shape.width, eps=1e-6)
        self.mlp = Mlp(shape)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """x [B, N, D], hidden [B, 1, 1, N] -> [B, N, D]."""
        x = x + self.attn(self.norm1(x), hidden)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out
