"""The predictor of V-JEPA 2.0 and 2.1: what tokens are where nobody looked.

Owns: the network, parameters named as Meta names them. Does not know: how a context was encoded,
which tokens are worth asking for.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from jepad.errors import SettingError
from jepad.jepa.attention import Block, Turn
from jepad.jepa.video.shape import PredictorShape
from jepad.jepa.video.turns import chosen, whole
from jepad.vision.grid import Grid


class Asked(NamedTuple):
    """Which tokens are known and which are wanted: indices in the full grid, in any order."""

    context: Tensor  # [B, C]
    targets: Tensor  # [B, T]

    @property
    def all(self) -> Tensor:
        """[B, C + T]."""
        return torch.cat([self.context, self.targets], 1)


class Predicted(NamedTuple):
    """What the predictor says, in the order it was asked."""

    targets: Tensor  # [B, T, output]
    context: Tensor | None  # [B, C, output], of a shape with `context_head`


class MaskPredictor(nn.Module):
    """A mask token stands at every place asked for; context and mask tokens attend to each other.
    Takes Meta's state dict strictly."""

    def __init__(self, shape: PredictorShape) -> None:
        super().__init__()
        self.shape = shape
        self.predictor_embed = _embedding(shape)
        self.mask_tokens = nn.ParameterList(
            torch.zeros(1, 1, shape.width) for _ in range(shape.mask_tokens)
        )
        self.predictor_blocks = nn.ModuleList(Block(shape.block) for _ in range(shape.depth))
        self.predictor_norm = nn.LayerNorm(shape.width, eps=shape.block.eps)
        self.predictor_proj = nn.Linear(shape.width, shape.output)
        self.predictor_proj_context = (
            nn.Linear(shape.width, shape.output) if shape.context_head else None
        )
        if shape.modality:
            self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, shape.width))
            self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, shape.width))

    def forward(
        self, context: Tensor, turn: Turn, mask_index: int = 1, image: bool = False
    ) -> Predicted:
        """context [B, C, source · levels]; turn of the context's places, then of those asked for.
        What is exported and served: no order of tokens is needed, attention has none.

        `mask_index` modulo the number of mask tokens (default: Meta's forward; the published files
        trained token 0 alone).
        """
        known = context.shape[1]
        x = self._run(context, turn, mask_index, image)
        head = self.predictor_proj_context
        of_context = None if head is None else head(x[:, :known])
        return Predicted(self.predictor_proj(x[:, known:]), of_context)

    def predict(
        self, context: Tensor, asked: Asked, mask_index: int = 1, image: bool = False
    ) -> Predicted:
        """As `forward`, places by token index in the grid of training (more steps than that are
        allowed). SettingError: another number of indices than of tokens, a negative index."""
        return self.forward(context, self.turn(context, asked), mask_index, image)

    def predict_all(
        self, context: Tensor, asked: Asked, mask_index: int = 1, image: bool = False
    ) -> Tensor:
        """All tokens through the head of targets, [B, C + T, output], in the order of their places:
        `return_all_tokens` of Meta's 2.0."""
        x = self._run(context, self.turn(context, asked), mask_index, image)
        out: Tensor = self.predictor_proj(x)
        order = asked.all.argsort(1)
        return out.gather(1, order[..., None].expand_as(out))

    def turn(self, context: Tensor, asked: Asked) -> Turn:
        """Tables of the places asked for. SettingError: as of `predict`."""
        if asked.context.shape != context.shape[:2] or asked.targets.ndim != 2:
            raise SettingError(
                f"{list(context.shape)} context tokens at places {list(asked.context.shape)}, "
                f"asked for {list(asked.targets.shape)}"
            )
        if len(asked.targets) != len(context) or not asked.targets.shape[1]:
            raise SettingError(f"targets {list(asked.targets.shape)} for {len(context)} contexts")
        places = asked.all
        if int(places.min()) < 0:
            raise SettingError("a token's index can't be negative")
        grid = self.shape.grid
        steps = max(grid.steps, int(places.max()) // grid.frame + 1)
        full = whole(self.shape.rope, Grid(steps, grid.rows, grid.columns), str(context.device))
        return chosen(full, places)

    def _run(self, context: Tensor, turn: Turn, mask_index: int, image: bool) -> Tensor:
        x = self.predictor_embed(context)
        wanted = turn.cos.shape[-2] - x.shape[1]
        mask: Tensor = self.mask_tokens[mask_index % self.shape.mask_tokens]
        x = torch.cat([x, mask.expand(len(x), wanted, -1)], 1)
        if self.shape.modality:
            x = x + (self.img_mod_embed if image else self.video_mod_embed)
        for block in self.predictor_blocks:
            x = block(x, turn=turn)
        out: Tensor = self.predictor_norm(x)
        return out


def _embedding(shape: PredictorShape) -> nn.Module:
    if shape.levels == 1:
        return nn.Linear(shape.source, shape.width)
    return nn.Sequential(
        nn.Linear(shape.source * shape.levels, shape.source),
        nn.GELU(),
        nn.Linear(shape.source, shape.width),
    )
