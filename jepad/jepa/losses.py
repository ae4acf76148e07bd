"""What training minimises: latents, quantiles, events.

Owns: the three terms. Does not know: the network, the schedule.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

QUANTILES = (0.1, 0.5, 0.9)


def latent_loss(z_hat: Tensor, target: Tensor) -> Tensor:
    """L1 between predicted latents and the layer-normed EMA target, both [B, C, D]: of each
    channel, and of the host, their mean."""
    miss = (z_hat - target).float()
    return miss.abs().mean() + miss.mean(1).abs().mean()


def quantile_loss(quantiles: Tensor, actual: Tensor, weight: Tensor) -> Tensor:
    """Joint pinball loss: quantiles [..., 3], actual and weight [...]; weight 0 = unknown."""
    levels = torch.tensor(QUANTILES, dtype=quantiles.dtype)
    error = actual[..., None] - quantiles
    pinball = torch.maximum(levels * error, (levels - 1) * error).sum(-1)
    return (pinball * weight).sum() / (weight > 0).sum().clamp(min=1)


def event_loss(logits: Tensor, rises: Tensor, known: Tensor) -> Tensor:
    """Binary cross entropy where `known`: all [...]."""
    each = functional.binary_cross_entropy_with_logits(logits.float(), rises, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)
