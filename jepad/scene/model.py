"""An installed model as the scene engine sees it: its shapes, its positions.

Owns: shapes read from the manifest, rotary tables by grid, what the engine tells of the model.
Does not know: weights, pixels, any runtime.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from jepad.errors import ModelError, NotFound, SettingError
from jepad.jepa.video.shape import (
    ActionShape,
    AnyShape,
    EncoderShape,
    PredictorShape,
    ProbeShape,
    from_json,
)
from jepad.jepa.video.steps import places
from jepad.models.library import PARTS, Manifest
from jepad.planning.bounds import Bounds
from jepad.planning.bounds import read as read_bounds
from jepad.scene.backend import Tables
from jepad.vision.grid import Grid, Rope, positions, tables

ACTING = "2-ac"  # the version whose frames are encoded each alone
Indices = NDArray[np.integer]
S = TypeVar("S", bound=AnyShape)


class Model:
    """Built from a manifest; ModelError if its shapes make no model."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.digest = manifest.digest
        self.acting = manifest.version == ACTING
        encoder = self._shape("encoder", EncoderShape)
        if encoder is None:
            raise ModelError(f"model {manifest.name} has no encoder")
        self.encoder = encoder
        self.predictor = self._shape("predictor", PredictorShape)
        self.action = self._shape("action", ActionShape)
        self.probe = self._shape("probe", ProbeShape)

    @property
    def parts(self) -> tuple[str, ...]:
        """Those there are."""
        return tuple(part for part in PARTS if part in self.manifest.shapes)

    @property
    def frame(self) -> Grid:
        """Of one frame (2-AC) or one tubelet, as pictures are cut here."""
        return self.encoder.grid_of(self.encoder.tubelet, self.encoder.size, self.encoder.size)

    @property
    def levelled(self) -> bool:
        """Does the predictor read several levels of the encoder?"""
        return self.predictor is not None and self.predictor.levels > 1

    def predicting(self) -> PredictorShape:
        """NotFound where there is no predictor."""
        if self.predictor is None:
            raise NotFound(f"model {self.manifest.name} has no predictor of what comes next")
        return self.predictor

    def naming(self) -> ProbeShape:
        """NotFound where there is no probe."""
        if self.probe is None:
            raise NotFound(
                f"model {self.manifest.name} knows no classes: import a classifier, or its probe"
            )
        return self.probe

    def deciding(self) -> ActionShape:
        """NotFound where there is no action predictor."""
        if self.action is None:
            raise NotFound(
                f"model {self.manifest.name} knows no actions: only a 2-AC model predicts and plans"
            )
        if self.action.extrinsics:
            raise NotFound(f"model {self.manifest.name} wants a camera's pose: not served")
        return self.action

    def bounds(self, asked: str = "") -> Bounds:
        """Of actions: a name or JSON; "" = what the model came with, else the robot arm's.
        SettingError: not those of this model's actions."""
        shape = self.deciding()
        own = self.manifest.story.get("bounds", "droid")
        told = own if isinstance(own, str) else json.dumps(own)
        found = read_bounds(asked or told)
        if len(found.axes) != shape.actions:
            raise SettingError(
                f"bounds {found.name} are of {len(found.axes)} numbers, an action of model "
                f"{self.manifest.name} has {shape.actions}: name others"
            )
        return found

    def whole(self, grid: Grid) -> Tables:
        """Of every token of a clip, for the encoder: [1, K, head]; the same object each time."""
        return _whole(self.encoder.rope, grid)

    def kept(self, grid: Grid, keep: Indices) -> Tables:
        """Of the tokens in `keep` [K]."""
        return _turned(self.encoder.rope, positions(grid, keep, self.encoder.rope.rescale))

    def ahead(self, grid: Grid, steps: int) -> Tables:
        """For the predictor: the clip's tokens, then those of the steps that follow."""
        shape = self.predicting()
        return _whole(shape.rope, Grid(grid.steps + steps, grid.rows, grid.columns))

    def _shape(self, part: str, kind: type[S]) -> S | None:
        if part not in self.manifest.shapes:
            return None
        shape = from_json(self.manifest.shapes[part])
        if not isinstance(shape, kind):
            raise ModelError(f"model {self.manifest.name}: shape of its {part} is of another kind")
        return shape


@lru_cache(maxsize=16)
def step_tables(rope: Rope, frame: Grid, t: int) -> Tables:
    """For the action predictor's step `t`: action, state and one frame's patches."""
    return _turned(rope, places(frame, first=t))


@lru_cache(maxsize=16)
def _whole(rope: Rope, grid: Grid) -> Tables:
    return _turned(rope, positions(grid, rescale=rope.rescale))


def _turned(rope: Rope, where: NDArray[np.float64]) -> Tables:
    cos, sin = tables(rope, where[None], halves=True)
    return Tables(cos, sin)
