"""The world model: encoder, predictor and read-out in one graph.

Owns: the graph's inputs and outputs. Does not know: numpy, files, training.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepad.jepa.config import Shape
from jepad.jepa.effect import EffectHead
from jepad.jepa.encoder import ContextEncoder, latent
from jepad.jepa.predictor import Predictor


class Feeds(NamedTuple):
    """What `jepad.heads.prepare` gives, as tensors."""

    x: Tensor  # [B, C, T, I]
    valid: Tensor  # [B, C, T]
    stats: Tensor  # [B, C, S]
    anchors: Tensor  # [B, C, H, K]
    season: Tensor  # [B, C, Y]
    action: Tensor  # [B, C, A]; all zeros = none
    effects: Tensor  # [B, C, H, E]


class Outputs(NamedTuple):
    """Per channel; `exported` gives the graph's own form."""

    quantiles: Tensor  # [B, C, H, 3] in scales beyond the last value
    p_rise: Tensor  # [B, C, H] logits
    z: Tensor  # [B, C, D]
    z_hat: Tensor  # [B, C, H, D]
    effect: Tensor  # [B, C, H, 3] in scales, with the action less without it


class Readout(nn.Module):
    """Quantiles as weighted anchors plus a residual, and the chance to rise, from a query."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.guesses = shape.anchors - 1
        self.linear = nn.Linear(shape.width, self.guesses + 4)
        self.rise_embed = nn.Linear(shape.width, shape.head)
        self.rise_place = nn.Linear(4, shape.head, bias=False)
        self.rise = nn.Linear(shape.head, 1)
        with torch.no_grad():
            self.linear.weight.mul_(0.1)
            self.linear.bias.zero_()

    def forward(self, queries: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """queries [N,H,D], anchors [N,H,K] -> quantiles [N,H,3], logits [N,H]."""
        out = self.linear(queries)
        guesses, threshold = anchors[..., :-1], anchors[..., -1]
        weights, rest = out[..., : self.guesses], out[..., self.guesses :]
        middle = (weights * guesses).sum(-1) + rest[..., 0]
        below = functional.softplus(rest[..., 1])
        above = functional.softplus(rest[..., 2])
        # The wider the guesses disagree, the wider the interval may grow.
        doubt = functional.softplus(rest[..., 3] - 2) * guesses.abs().mean(-1)
        steps = torch.stack([middle - below - doubt, middle, middle + above + doubt], -1)
        return steps, self._rises(queries, steps.detach(), threshold)

    def _rises(self, queries: Tensor, steps: Tensor, threshold: Tensor) -> Tensor:
        """Where the threshold lies among the quantiles says most of the chance to pass it."""
        low, middle, high = steps.unbind(-1)
        beyond = threshold - middle
        place = torch.stack(
            [threshold, beyond, beyond / (high - middle + 0.05), beyond / (middle - low + 0.05)], -1
        )
        hidden = self.rise_embed(queries) + self.rise_place(torch.asinh(place))
        out: Tensor = self.rise(functional.gelu(hidden))[..., 0]
        return out


class WorldModel(nn.Module):
    """Reads windows of many channels, says what comes, in latents and in quantiles."""

    trust: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = ContextEncoder(shape)
        self.predictor = Predictor(shape)
        self.readout = Readout(shape)
        self.effect = EffectHead(shape)
        #: How the exported z_hat moves from z, of what was said to move, by horizon; fitted after
        #: training: one step ahead z hardly moves, and a prediction's noise outweighs its news.
        whole = torch.eye(shape.width).repeat(len(shape.horizons), 1, 1)
        self.register_buffer("trust", whole)

    def forward(self, feeds: Feeds) -> Outputs:
        """feeds of [B, C, ...]."""
        b, c = feeds.x.shape[0], feeds.x.shape[1]
        s, h = self.shape, len(self.shape.horizons)
        tokens = self.encoder(feeds.x, feeds.valid, feeds.stats)
        anchors = feeds.anchors.reshape(-1, h, s.anchors)
        queries = self.predictor(tokens, anchors, feeds.season.reshape(-1, s.season))
        steps, rise = self.readout(queries.float(), anchors)
        action = feeds.action.reshape(-1, s.action)
        effects = feeds.effects.reshape(-1, h, s.effects)
        effect, shift = self.effect(queries.float(), action, effects)
        return Outputs(
            steps.reshape(b, c, h, 3),
            rise.reshape(b, c, h),
            latent(tokens).reshape(b, c, s.width),
            self.predictor.z_hat(queries + shift).reshape(b, c, h, s.width),
            effect.reshape(b, c, h, 3),
        )


class Exported(nn.Module):
    """The graph that ships: flat inputs and outputs, latents averaged over seen channels."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *feeds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The shapes of Feeds -> quantiles [B,C,H,3], p_rise [B,C,H], z [B,D], z_hat [B,H,D],
        effect [B,C,H,3]."""
        told = Feeds(*feeds)
        out = self.model(told)
        seen = told.valid.amax(-1)
        share = seen / seen.sum(1, keepdim=True).clamp(min=1)
        z = (out.z * share[..., None]).sum(1)
        z_hat = (out.z_hat * share[..., None, None]).sum(1)
        moved = (z_hat - z[:, None])[:, :, None] @ self.model.trust
        return out.quantiles, out.p_rise, z, z[:, None] + moved[:, :, 0], out.effect
