"""The world model: encoder, predictor and read-out in one graph.

Owns: the graph's inputs and outputs. Does not know: numpy, files, training.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from jepad.jepa.config import Shape
from jepad.jepa.encoder import ContextEncoder, latent
from jepad.jepa.predictor import Predictor


class Feeds(NamedTuple):
    """What `jepad.heads.prepare` gives, as tensors."""

    x: Tensor  # [B, C, T, I]
    valid: Tensor  # [B, C, T]
    stats: Tensor  # [B, C, S]
    anchors: Tensor  # [B, C, H, K]
    season: Tensor  # [B, C, Y]


class Outputs(NamedTuple):
    """Per channel; `exported` gives the graph's own form."""

    quantiles: Tensor  # [B, C, H, 3] in scales beyond the last value
    p_rise: Tensor  # [B, C, H] logits
    z: Tensor  # [B, C, D]
    z_hat: Tensor  # [B, C, H, D]


class Readout(nn.Module):
    """Quantiles as weighted anchors plus a residual, and the chance to rise, from a query."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.anchors = shape.anchors
        self.linear = nn.Linear(shape.width, shape.anchors + 5)
        with torch.no_grad():
            self.linear.weight.mul_(0.1)
            self.linear.bias.zero_()

    def forward(self, queries: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """queries [N,H,D], anchors [N,H,K] -> quantiles [N,H,3], logits [N,H]."""
        out = self.linear(queries)
        weights, rest = out[..., : self.anchors], out[..., self.anchors :]
        middle = (weights * anchors).sum(-1) + rest[..., 0]
        below = torch.nn.functional.softplus(rest[..., 1])
        above = torch.nn.functional.softplus(rest[..., 2])
        # The wider the guesses disagree, the wider the interval may grow.
        doubt = torch.nn.functional.softplus(rest[..., 3] - 2) * anchors.abs().mean(-1)
        steps = torch.stack([middle - below - doubt, middle, middle + above + doubt], -1)
        return steps, rest[..., 4]


class WorldModel(nn.Module):
    """Reads windows of many channels, says what comes, in latents and in quantiles."""

    trust: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = ContextEncoder(shape)
        self.predictor = Predictor(shape)
        self.readout = Readout(shape)
        #: How far the exported z_hat goes from z to what was predicted, by horizon; fitted after
        #: training, as one step ahead z hardly moves and a prediction's noise outweighs its news.
        self.register_buffer("trust", torch.ones(len(shape.horizons)))

    def forward(self, feeds: Feeds, action: Tensor | None = None) -> Outputs:
        """feeds of [B, C, ...]; action [B, A], none = zeros."""
        b, c = feeds.x.shape[0], feeds.x.shape[1]
        s, h = self.shape, len(self.shape.horizons)
        tokens = self.encoder(feeds.x, feeds.valid, feeds.stats)
        anchors = feeds.anchors.reshape(-1, h, s.anchors)
        if action is None:
            action = torch.zeros_like(feeds.season[:, 0, : s.action])
        acted = action[:, None].expand(b, c, s.action).reshape(-1, s.action)
        queries = self.predictor(tokens, anchors, feeds.season.reshape(-1, s.season), acted)
        steps, rise = self.readout(queries.float(), anchors)
        return Outputs(
            steps.reshape(b, c, h, 3),
            rise.reshape(b, c, h),
            latent(tokens).reshape(b, c, s.width),
            self.predictor.z_hat(queries).reshape(b, c, h, s.width),
        )


class Exported(nn.Module):
    """The graph that ships: flat inputs and outputs, latents averaged over seen channels."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, x: Tensor, valid: Tensor, stats: Tensor, anchors: Tensor, season: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The shapes of Feeds -> quantiles [B,C,H,3], p_rise [B,C,H], z [B,D], z_hat [B,H,D]."""
        out = self.model(Feeds(x, valid, stats, anchors, season))
        seen = valid.amax(-1)
        share = seen / seen.sum(1, keepdim=True).clamp(min=1)
        z = (out.z * share[..., None]).sum(1)
        z_hat = (out.z_hat * share[..., None, None]).sum(1)
        trusted = self.model.trust[:, None] * (z_hat - z[:, None])
        return out.quantiles, out.p_rise, z, z[:, None] + trusted
