"""What an action changes: the predictor's queries, conditioned on an action token.

Owns: the action's embedding, the effect's quantiles, the shift of the predicted latent.
Does not know: which actions there are, units. Frozen encoder and predictor, as the
action-conditioned predictor of V-JEPA 2 (Assran et al. 2025, section 3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepad.jepa.config import Shape


class EffectHead(nn.Module):
    """Where the action is all zeros, so is every effect."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.guesses = shape.effects
        self.action_embed = nn.Linear(shape.action, shape.head)
        self.query_embed = nn.Linear(shape.width, shape.head, bias=False)
        self.guess_embed = nn.Linear(shape.effects, shape.head, bias=False)
        self.fc = nn.Linear(shape.head, shape.head)
        self.linear = nn.Linear(shape.head, shape.effects + 5)
        self.shift = nn.Linear(shape.head, shape.width)
        with torch.no_grad():
            for last in (self.linear, self.shift):
                last.weight.mul_(0.1)
                last.bias.zero_()

    def forward(self, queries: Tensor, action: Tensor, effects: Tensor) -> tuple[Tensor, Tensor]:
        """queries [N,H,D], action [N,A], effects [N,H,E] -> p10, p50 and p90 of (with - without)
        [N,H,3] in the scales of the effects, and the shift of the queries [N,H,D]."""
        acted = (action != 0).any(-1, keepdim=True)[:, None].to(queries.dtype)
        token = self.action_embed(action)[:, None]
        token = token + self.guess_embed(torch.asinh(effects)) + self.query_embed(queries)
        hidden = functional.gelu(self.fc(functional.gelu(token)))
        out = self.linear(hidden)
        weights, rest = out[..., : self.guesses], out[..., self.guesses :]
        middle = (weights * effects).sum(-1) + rest[..., 0]
        wild = effects.abs().amax(-1)
        below = functional.softplus(rest[..., 1]) + functional.softplus(rest[..., 2] - 3) * wild
        above = functional.softplus(rest[..., 3]) + functional.softplus(rest[..., 4] - 3) * wild
        effect = torch.stack([middle - below, middle, middle + above], -1)
        return effect * acted, self.shift(hidden) * acted
