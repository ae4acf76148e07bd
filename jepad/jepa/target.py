"""What a JEPA learns from: a slow twin of the encoder, its tokens normalised.

Owns: the norm without parameters, the moving average. Does not know: what is encoded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def normed(tokens: Tensor, levels: int = 1) -> Tensor:
    """Layer norm without parameters, eps 1e-5 (the models' own norms have 1e-6); tokens
    [..., levels * D], each level by itself."""
    if levels == 1:
        return functional.layer_norm(tokens, tokens.shape[-1:])
    split = tokens.reshape(*tokens.shape[:-1], levels, -1)
    return functional.layer_norm(split, split.shape[-1:]).flatten(-2)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Move every parameter of `slow` towards that of `fast` by 1 - momentum."""
    mine: list[Tensor] = list(slow.parameters())
    torch._foreach_lerp_(mine, list(fast.parameters()), 1 - momentum)
