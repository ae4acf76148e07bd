"""Training steps of the video models: masked prediction (V-JEPA 2.0 and 2.1), and prediction of
what actions lead to, on an encoder that stays as it is (2-AC).

Owns: optimisers, the target encoder, the schedule. Does not know: where clips and masks come from.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jepad.errors import SettingError
from jepad.jepa.learner import Learner
from jepad.jepa.target import follow, normed
from jepad.jepa.video.action import ActionPredictor, Given
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.masks import Masks
from jepad.jepa.video.objective import Seen, action_losses, imagine, masked_losses, nearness
from jepad.jepa.video.predictor import Asked, MaskPredictor, Predicted

#: The only mask token that the published trainings ever used.
MASK_TOKEN = 0


@dataclass(frozen=True, slots=True)
class Course:
    """How a video model is trained; the defaults are V-JEPA 2's pre-training."""

    start: float = 1e-4  # learning rate of the first warm-up step
    peak: float = 5.25e-4
    final: float = 5.25e-4  # cosine from peak to here after the warm-up
    warmup: int = 12_000
    steps: int = 90_000
    decay: float = 0.04  # weight decay to begin with, of matrices only
    final_decay: float = 0.04  # cosine to here over all steps
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.99925  # of the target encoder
    clip: float | None = None  # of the norm of all gradients
    seen: Seen | None = None  # 2.1's context term
    imagined: int = 2  # steps that 2-AC goes on alone
    bfloat16: bool = False  # products in it; losses, norms, gradients and weights stay float32

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 1."""
        if step < self.warmup:
            return self.start + step / max(self.warmup, 1) * (self.peak - self.start)
        return _faded(
            self.peak, self.final, (step - self.warmup) / max(self.steps - self.warmup, 1)
        )

    def held(self, step: int) -> float:
        """Weight decay of a step, counted from 1."""
        return _faded(self.decay, self.final_decay, step / max(self.steps, 1))


class MaskedTrainer(Learner):
    """An encoder and a predictor that learn together, and the target encoder that follows."""

    def __init__(self, encoder: VideoEncoder, predictor: MaskPredictor, course: Course) -> None:
        self.encoder, self.predictor, self.course = encoder, predictor, course
        self.target = copy.deepcopy(encoder).requires_grad_(False)
        parts = {"encoder": encoder, "predictor": predictor, "target": self.target}
        super().__init__(parts, _optimiser([encoder, predictor], course), _asked(course))

    def learn(self, clips: Tensor, masks: Sequence[Masks]) -> dict[str, float]:
        """One step on clips [B, 3, T, H, W] (2.1: T = 1 are images) and one pair of masks [B, ·]
        a mask set; returns the terms and their total."""
        with _precision(self.course, clips):
            terms = self.losses(clips, masks)
        total = terms["hidden"]
        if self.course.seen is not None:
            total = total + self.course.seen.weight(self.step) * terms["seen"]
        _descend(self, self.course, total)
        follow(self.target, self.encoder, self.course.momentum)
        return _plain(terms | {"total": total})

    def losses(self, clips: Tensor, masks: Sequence[Masks]) -> dict[str, Tensor]:
        """`hidden`: the mean over the mask sets; `seen` beside it where the course has it.

        SettingError: masks that don't fit the clips; a `seen` that the predictor can't answer.
        """
        target = self.targets(clips)
        said = [self.predict(clips, pair) for pair in masks]
        wanted = [pair.targets for pair in masks]
        hidden = masked_losses([predicted.targets for predicted in said], target, wanted)
        if self.course.seen is None:
            return {"hidden": hidden.mean()}
        known = [predicted.context for predicted in said if predicted.context is not None]
        if len(known) < len(masks):
            raise SettingError("this predictor says nothing of what was seen: a course without it")
        weights = None
        if self.course.seen.near:
            grid = self.encoder.grid(clips)
            weights = [nearness(grid, pair.context, pair.targets) for pair in masks]
        seen = masked_losses(known, target, [pair.context for pair in masks], weights)
        return {"hidden": hidden.mean(), "seen": seen.mean()}

    @torch.no_grad()
    def targets(self, clips: Tensor) -> Tensor:
        """Tokens of the target encoder, layer-normed (2.1: level by level): [B, N, output]."""
        return normed(self._tokens(self.target, clips), self.predictor.shape.levels)

    def predict(self, clips: Tensor, pair: Masks) -> Predicted:
        """What is said of the tokens of one mask set, from those that it leaves."""
        context = self._tokens(self.encoder, clips, [pair.context])
        image = clips.shape[2] == 1 and self.encoder.shape.image
        return self.predictor.predict(context, Asked(*pair), MASK_TOKEN, image)

    def _tokens(
        self, encoder: VideoEncoder, clips: Tensor, masks: Sequence[Tensor] | None = None
    ) -> Tensor:
        if self.predictor.shape.levels == 1:
            return encoder.encode(clips, masks)
        # 2.1: what the predictor reads and says are all levels
        return torch.cat(encoder.levels(clips, masks), 2)


class ActionTrainer(Learner):
    """An action predictor that learns on tokens of an encoder that doesn't."""

    def __init__(self, predictor: ActionPredictor, course: Course) -> None:
        self.predictor, self.course = predictor, course
        optimiser = _optimiser([predictor], course)
        super().__init__({"predictor": predictor}, optimiser, _asked(course))

    def learn(self, tokens: Tensor, given: Given) -> dict[str, float]:
        """One step on tokens [B, T*K, D] of T frames as `encode_frames` gives them, and what
        happened between them as `imagine` takes it; returns the terms and their total."""
        with _precision(self.course, tokens):
            imagined = imagine(self.predictor, tokens, given, self.course.imagined)
        taught, alone = action_losses(imagined, tokens)
        total = taught + alone
        _descend(self, self.course, total)
        return _plain({"taught": taught, "alone": alone, "total": total})


@torch.no_grad()
def encode_frames(encoder: VideoEncoder, clips: Tensor) -> Tensor:
    """clips [B, 3, T, H, W] -> [B, T*K, D], layer-normed: every frame alone, repeated to a
    tubelet, as 2-AC sees the world."""
    frames = clips.transpose(1, 2).flatten(0, 1)[:, :, None]
    alone = encoder.encode(frames.expand(-1, -1, encoder.shape.tubelet, -1, -1))
    return normed(alone).reshape(len(clips), -1, alone.shape[-1])


def _optimiser(learners: Sequence[nn.Module], course: Course) -> torch.optim.AdamW:
    """Biases and what has one dimension (norms) don't decay."""
    named = [(name, p) for part in learners for name, p in part.named_parameters()]
    free = [p for name, p in named if "bias" in name or p.ndim == 1]
    held = [p for name, p in named if not ("bias" in name or p.ndim == 1)]
    groups: list[dict[str, Any]] = [{"params": held}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups, course.start, course.betas, course.eps, weight_decay=course.decay
    )


def _precision(course: Course, like: Tensor) -> torch.autocast:
    return torch.autocast(like.device.type, torch.bfloat16, enabled=course.bfloat16)


def _descend(learner: Learner, course: Course, total: Tensor) -> None:
    held = learner.optimiser.param_groups[0]  # others are as whoever added them wanted
    held["weight_decay"] = course.held(learner.step + 1)
    learner.descend(total, course.rate(learner.step + 1), course.clip)


def _faded(first: float, last: float, done: float) -> float:
    """On a cosine from first to last."""
    return last + (first - last) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def _asked(course: Course) -> dict[str, dict[str, Any]]:
    return {"course": asdict(course)}


def _plain(terms: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(term.detach()) for name, term in terms.items()}
