"""The one transformer block: over time, over channels, over video, in encoder and predictor alike.

Owns: attention, MLP, residuals, with the parameter names of V-JEPA 2 (attn.qkv, mlp.fc1, ...).
Does not know: what a token stands for, nor where it is (a Turn says it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepad.jepa.config import BlockShape


class Turn(NamedTuple):
    """Rotary position of N tokens; tables as `jepad.vision.grid` makes them."""

    cos: Tensor  # [N, head], or whatever broadcasts to [B, heads, N, head]
    sin: Tensor
    #: Which entries of a head turn together: 2i and 2i + 1, or (True) i and i + head / 2.
    halves: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """x [B, heads, N, head], turned."""
        if self.halves:
            low, high = x.chunk(2, -1)
            other = torch.cat((-high, low), -1)
        else:
            other = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
        return x * self.cos + other * self.sin


class KeysValues(NamedTuple):
    """Of tokens that later ones will attend to, turned already: [B, heads, P, head] each."""

    keys: Tensor
    values: Tensor


class Attention(nn.Module):
    """Multi-head self-attention; `hidden` is added to the scores (a large negative hides a key)."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.scale = (shape.width // shape.heads) ** -0.5
        self.fused = shape.fused
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)

    def forward(
        self,
        asking: Tensor | None,
        x: Tensor,
        hidden: Tensor | None = None,
        turn: Turn | None = None,
    ) -> Tensor:
        """asking [B, M, D] (None: x itself) attends to x [B, N, D], hidden broadcasts to
        [B, heads, M, N] -> [B, M, D]. `turn` is of x, and wants asking to be None."""
        q, k, v = self._project(asking, x)
        if turn is not None:
            q, k = turn(q), turn(k)
        return self._mix(q, k, v, hidden)

    def step(
        self, x: Tensor, turn: Turn | None, past: KeysValues | None
    ) -> tuple[Tensor, KeysValues]:
        """x [B, N, D] attends to the past and to all of itself: causal over steps, full inside
        one. The second is the past of the next step."""
        q, k, v = self._project(None, x)
        if turn is not None:
            q, k = turn(q), turn(k)
        if past is not None:
            k, v = torch.cat([past.keys, k], 2), torch.cat([past.values, v], 2)
        return self._mix(q, k, v, None), KeysValues(k, v)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> Tensor:
        if self.fused:
            out = functional.scaled_dot_product_attention(q, k, v, hidden)
        else:
            scores = (q @ k.transpose(-1, -2)) * self.scale
            if hidden is not None:
                scores = scores + hidden
            out = scores.softmax(-1) @ v
        mixed: Tensor = self.proj(
            out.transpose(1, 2).reshape(q.shape[0], -1, self.proj.in_features)
        )
        return mixed

    def _project(self, asking: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        d = x.shape[2]
        if asking is None:
            q, k, v = self.qkv(x).chunk(3, -1)
        else:
            weight, bias = self.qkv.weight, self.qkv.bias
            q = functional.linear(asking, weight[:d], bias[:d])
            k, v = functional.linear(x, weight[d:], bias[d:]).chunk(2, -1)
        return self._split(q), self._split(k), self._split(v)

    def _split(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, heads, N, D / heads]."""
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)


class Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.gelu = shape.gelu
        self.fc1 = nn.Linear(shape.width, shape.hidden)
        self.fc2 = nn.Linear(shape.hidden, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, N, D] -> [B, N, D]."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(x), approximate=self.gelu))
        return out


class Block(nn.Module):
    """Attention then MLP, each on normalised tokens and added to them."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=shape.eps)
        self.attn = Attention(shape)
        self.norm2 = nn.LayerNorm(shape.width, eps=shape.eps)
        self.mlp = Mlp(shape)

    def forward(
        self,
        x: Tensor,
        hidden: Tensor | None = None,
        keep: Sequence[int] | None = None,
        turn: Turn | None = None,
    ) -> Tensor:
        """x [B, N, D], hidden [B, 1, 1, N] -> [B, N, D], or only the tokens of `keep`: what the
        others became is not computed where nobody reads it."""
        seen = self.norm1(x)
        if keep is None:
            x = x + self.attn(None, seen, hidden, turn)
        else:
            chosen = list(keep)
            x = x[:, chosen] + self.attn(seen[:, chosen], seen, hidden)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def step(
        self, x: Tensor, turn: Turn | None, past: KeysValues | None
    ) -> tuple[Tensor, KeysValues]:
        """As the attention's: one step's tokens on top of those that came before."""
        seen, present = self.attn.step(self.norm1(x), turn, past)
        x = x + seen
        return x + self.mlp(self.norm2(x)), present
