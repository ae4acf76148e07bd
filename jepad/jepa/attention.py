"""The one transformer block: over time, over channels, in encoder and predictor alike.

Owns: attention, MLP, residuals, with the parameter names of V-JEPA 2 (attn.qkv, mlp.fc1, ...).
Does not know: what a token stands for.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from jepad.jepa.config import Shape


class Attention(nn.Module):
    """Multi-head self-attention; `hidden` is added to the scores (a large negative hides a key)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.scale = (shape.width // shape.heads) ** -0.5
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)

    def forward(self, asking: Tensor | None, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """asking [B, M, D] (None: x itself) attends to x [B, N, D], hidden [B, 1, 1, N]
        -> [B, M, D]."""
        q, k, v = self._project(asking, x)
        # Written out: for a dozen tokens this is faster than the fused kernel, on CPU.
        scores = (q @ k.transpose(-1, -2)) * self.scale
        if hidden is not None:
            scores = scores + hidden
        out = (scores.softmax(-1) @ v).transpose(1, 2)
        mixed: Tensor = self.proj(out.reshape(x.shape[0], -1, x.shape[2]))
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

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.fc1 = nn.Linear(shape.width, shape.mlp_ratio * shape.width)
        self.fc2 = nn.Linear(shape.mlp_ratio * shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, N, D] -> [B, N, D]."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))
        return out


class Block(nn.Module):
    """Attention then MLP, each on normalised tokens and added to them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=1e-6)
        self.attn = Attention(shape)
        self.norm2 = nn.LayerNorm(shape.width, eps=1e-6)
        self.mlp = Mlp(shape)

    def forward(
        self, x: Tensor, hidden: Tensor | None = None, keep: Sequence[int] | None = None
    ) -> Tensor:
        """x [B, N, D], hidden [B, 1, 1, N] -> [B, N, D], or only the tokens of `keep`: what the
        others became is not computed where nobody reads it."""
        seen = self.norm1(x)
        if keep is None:
            x = x + self.attn(None, seen, hidden)
        else:
            chosen = list(keep)
            x = x[:, chosen] + self.attn(seen[:, chosen], seen, hidden)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out
