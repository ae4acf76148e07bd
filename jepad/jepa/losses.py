"""What training minimises: latents (of telemetry and of video), quantiles, events.

Owns: the terms. Does not know: the network, the schedule.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

QUANTILES = (0.1, 0.5, 0.9)


def l1(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute error of tokens [..., D], in float32; weight [...] multiplies each token's."""
    miss = (predicted - target).float().abs()
    return miss.mean() if weight is None else (miss * weight[..., None]).mean()


def latent_loss(z_hat: Tensor, target: Tensor) -> Tensor:
    """L1 between predicted latents and the layer-normed EMA target, both [B, C, D]: of each
    channel, and of the host, their mean."""
    host = (z_hat - target).float().mean(1)
    return l1(z_hat, target) + host.abs().mean()


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
