"""One training step, its schedule, and a state that can be saved and taken up again.

Owns: optimiser, EMA momentum, learning rate, what is saved. Does not know: where batches come from.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jepad.errors import ModelError, SettingError
from jepad.jepa import checkpoint
from jepad.jepa.config import Schedule, Shape
from jepad.jepa.encoder import TargetEncoder
from jepad.jepa.losses import event_loss, latent_loss, quantile_loss
from jepad.jepa.world import Feeds, WorldModel

#: What a checkpoint holds.
_STATE = frozenset(
    ("model", "target", "optimiser", "random", "step", "shape", "schedule", "beside")
)


class Batch(NamedTuple):
    """Windows and what came after them."""

    feeds: Feeds
    later: Feeds  # the same channels `horizon` steps later, for the target encoder
    horizon: int  # index into Shape.horizons
    actual: Tensor  # [B, C, H] in the scales of the outputs
    weight: Tensor  # [B, C, H]
    rises: Tensor  # [B, C, H] 0 or 1
    known: Tensor  # [B, C, H] 1 where `rises` may be learned


class Trainer:
    """Owns a model while it learns."""

    def __init__(self, shape: Shape, schedule: Schedule) -> None:
        torch.manual_seed(schedule.seed)
        self.schedule = schedule
        self.model = WorldModel(shape)
        self.target = TargetEncoder(self.model.encoder)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(),
            lr=schedule.peak,
            betas=(0.9, 0.98),
            weight_decay=schedule.decay,
        )
        self.step = 0

    def rate(self, done: float) -> float:
        """Learning rate after the share `done` of the training."""
        s = self.schedule
        warm = min(1.0, (self.step + 1) / max(s.warmup, 1))
        return s.peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))

    def learn(self, batch: Batch, done: float | None = None) -> dict[str, float]:
        """One step; `done` is the share of the training behind us, by default by steps."""
        done = self.step / self.schedule.steps if done is None else done
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(done)
        terms = self._losses(batch)
        s = self.schedule
        total = terms["quantile"] + s.latent * terms["latent"] + s.event * terms["event"]
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), s.clip)
        self.optimiser.step()
        self.target.follow(self.model.encoder, s.momentum)
        self.step += 1
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

    def save(self, path: str, beside: str = "") -> None:
        """Write everything needed to go on, atomically; `beside` is the caller's own text."""
        state = {
            "model": self.model.state_dict(),
            "target": self.target.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "step": self.step,
            "shape": asdict(self.model.shape),
            "schedule": asdict(self.schedule),
            "beside": beside,
        }
        checkpoint.write(path, state)

    def restore(self, path: str) -> str:
        """Go on from `save`'s file as if never stopped; returns its `beside`.

        SettingError names what was asked for otherwise than in the file.
        """
        state = checkpoint.read(path, _STATE)
        self._same(path, state)
        try:
            self.model.load_state_dict(state["model"])
            self.target.load_state_dict(state["target"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError, KeyError) as e:
            raise ModelError(
                f"{path}: weights of another network than this release trains; "
                "start again without --resume"
            ) from e
        torch.set_rng_state(state["random"])
        self.step = int(state["step"])
        return str(state["beside"])

    def _same(self, path: str, state: dict[str, Any]) -> None:
        wanted = asdict(self.model.shape) | asdict(self.schedule)
        there = state["shape"] | state["schedule"]
        other = [k for k in sorted(wanted | there) if wanted.get(k) != there.get(k)]
        if other:
            was = ", ".join(f"{k} {there.get(k)} (asked: {wanted.get(k)})" for k in other)
            raise SettingError(
                f"{path}: of a training with {was}; ask for the same, or start again "
                "without --resume or in another --out"
            )
