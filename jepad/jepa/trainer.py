"""One training step of the telemetry model, and its schedule.

Owns: optimiser, EMA momentum, learning rate. Does not know: where batches come from, what is saved.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import NamedTuple

import torch
from torch import Tensor

from jepad.jepa.config import Schedule, Shape
from jepad.jepa.encoder import TargetEncoder
from jepad.jepa.learner import Learner
from jepad.jepa.losses import event_loss, latent_loss, quantile_loss
from jepad.jepa.world import Feeds, WorldModel


class Batch(NamedTuple):
    """Windows and what came after them."""

    feeds: Feeds
    later: Feeds  # the same channels `horizon` steps later, for the target encoder
    horizon: int  # index into Shape.horizons
    actual: Tensor  # [B, C, H] in the scales of the outputs
    weight: Tensor  # [B, C, H]
    rises: Tensor  # [B, C, H] 0 or 1
    known: Tensor  # [B, C, H] 1 where `rises` may be learned


class Trainer(Learner):
    """Owns a model while it learns."""

    def __init__(self, shape: Shape, schedule: Schedule) -> None:
        torch.manual_seed(schedule.seed)
        self.schedule = schedule
        self.model = WorldModel(shape)
        self.target = TargetEncoder(self.model.encoder)
        optimiser = torch.optim.AdamW(
            self.model.parameters(),
            lr=schedule.peak,
            betas=(0.9, 0.98),
            weight_decay=schedule.decay,
        )
        asked = {"shape": asdict(shape), "schedule": asdict(schedule)}
        super().__init__({"model": self.model, "target": self.target}, optimiser, asked)

    def rate(self, done: float) -> float:
        """Learning rate after the share `done` of the training."""
        s = self.schedule
        warm = min(1.0, (self.step + 1) / max(s.warmup, 1))
        return s.peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))

    def learn(self, batch: Batch, done: float | None = None) -> dict[str, float]:
        """One step; `done` is the share of the training behind us, by default by steps."""
        done = self.step / self.schedule.steps if done is None else done
        terms = self._losses(batch)
        s = self.schedule
        total = terms["quantile"] + s.latent * terms["latent"] + s.event * terms["event"]
        self.descend(total, self.rate(done), s.clip)
        self.target.follow(self.model.encoder, s.momentum)
        return {"total": float(total.detach())} | {k: float(v.detach()) for k, v in terms.items()}

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.schedule.bfloat16):
            target = self.target(*batch.later[:3])
            out = self.model(batch.feeds)
        predicted = out.z_hat[:, :, batch.horizon]
        return {
            "quantile": quantile_loss(out.quantiles, batch.actual, batch.weight),
            "latent": latent_loss(predicted, target.reshape(predicted.shape)),
            "event": event_loss(out.p_rise, batch.rises, batch.known),
        }
