"""What a model says of a clip of a stream: its tokens, their mean, what it expects to follow.

Owns: which of its tokens a prediction can be held against, and why there may be none.
Does not know: streams, rings, when anything runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jepad.errors import EngineError
from jepad.scene.backend import Backend, Encoded, Floats
from jepad.scene.eye import Eye, Frames
from jepad.scene.model import Model
from jepad.scene.normal import normed

#: Runs something with the backend in force, when its turn comes.
Run = Callable[[Callable[[Backend], Any]], Any]
#: The mask token that published files trained.
_MASK = 0


class Look(NamedTuple):
    """Of one clip."""

    pooled: Floats  # [D]
    seen: Floats  # [steps, K, O]: its tokens in the predictor's terms, layer-normed
    ahead: Floats | None  # [steps ahead, K, O]: what the predictor expects after it


class Seer:
    """Of one model. For several threads."""

    def __init__(self, model: Model, run: Run) -> None:
        self._model, self._run = model, run
        self._eye = Eye(model)
        self.unit = 1 if model.acting else model.encoder.tubelet  # frames of a step in time
        self.why = _why_not(model)  # no surprise by prediction; "" = there is

    @property
    def model(self) -> Model:
        """Whose words these are."""
        return self._model

    def window(self, asked: int) -> int:
        """Frames of a clip; SettingError: they don't divide into tubelets."""
        shape = self._model.encoder
        if self._model.acting:
            return 1
        shape.grid_of(asked or shape.frames, shape.size, shape.size)
        return max(asked or shape.frames, shape.tubelet)

    def look(self, clip: Frames, ahead: int) -> Look:
        """uint8 [T, H, W, 3]; `ahead` steps are predicted, 0 = none. JepadError: why not."""
        model = self._model
        eyed = self._eye.look(clip)
        levels = bool(ahead) and model.levelled
        made: Encoded = self._run(
            lambda backend: backend.encode(eyed.patches, model.whole(eyed.grid), levels)
        )
        tokens = _finite(normed(made.tokens) if model.acting else made.tokens)
        context = tokens if made.levels is None else made.levels
        pooled = tokens.reshape(-1, tokens.shape[-1]).mean(0, dtype=np.float64).astype(np.float32)
        seen = self._by_level(context).reshape(eyed.steps, model.frame.frame, -1)
        if not ahead:
            return Look(pooled, seen, None)
        turned = model.ahead(eyed.grid, ahead)
        expected = _finite(self._run(lambda backend: backend.predict(context, turned, _MASK)))
        return Look(pooled, seen, expected.reshape(ahead, model.frame.frame, -1))

    def _by_level(self, tokens: Floats) -> Floats:
        """As training's targets are normed: each level by itself."""
        width = self._model.encoder.width
        return normed(tokens.reshape(*tokens.shape[:-1], -1, width)).reshape(tokens.shape)


def _why_not(model: Model) -> str:
    """What keeps a prediction from being held against what was seen."""
    if model.acting:
        return "what follows depends on actions, which a stream of frames does not tell"
    if model.predictor is None:
        return "the model has no predictor"
    own = model.encoder.width * model.predictor.levels
    if model.predictor.output != own:
        return (
            f"its predictor speaks of another model's tokens ({model.predictor.output} numbers "
            f"each, its own have {own}), as the distilled 2.1 models do"
        )
    return ""


def _finite(tokens: Floats) -> Floats:
    if not np.isfinite(tokens).all():
        raise EngineError("the model gave numbers that are not finite: its device may be faulty")
    return tokens
