"""The checkpoint that ships, in int8 beside float32: what rounding does to weights that learned.

Owns: the comparison on pictures of the toy world. Does not know: speed.
"""

from __future__ import annotations

import numpy as np
from safetensors.numpy import load_file

from bench.report import Cell, Goal, Table
from jepad.engine.onnx import session
from jepad.errors import NotFound
from jepad.learn.video import export
from jepad.learn.video.gate import tokens_alike
from jepad.models import library
from jepad.planning import toy
from jepad.scene.backend import Floats
from jepad.scene.cuda import load as load_torch
from jepad.scene.eye import Eye
from jepad.scene.model import Model

WHAT = "cosine of int8 to fp32, mean token, shipped toy checkpoint"
_PICTURES = 32


def measured(home: str) -> tuple[Goal, Table | None]:
    """The goal and its figures; the goal's value is None where no such checkpoint is there.
    `home`: where its int8 graph may be written."""
    try:
        shipped = library.find(home, library.TOY)
        exact = load_torch(shipped, "cpu", "fp32", 1)
        path = rounded(shipped, home)
    except NotFound as error:
        return Goal(WHAT, None, ">=", 0.999, str(error)), None
    model = Model(shipped.manifest)
    states = toy.random_states(_PICTURES, np.random.default_rng(0))
    seen = Eye(model).look(toy.render(states))
    tables = model.whole(seen.grid)
    feeds = {"patches": seen.patches, "cos": tables.cos, "sin": tables.sin}
    cheap: Floats = session(path).run(["tokens"], feeds)[0]
    found = tokens_alike(exact.encode(seen.patches, tables).tokens, cheap)
    goal = Goal(WHAT, found.pooled, ">=", 0.999, f"worst token {found.worst:.5f}")
    row: list[Cell] = [found.clips, found.tokens, found.pooled, found.worst]
    columns = ["pictures", "tokens", "worst pooled cosine", "worst token's cosine"]
    return goal, Table("shipped toy checkpoint, int8 beside fp32", columns, [row])


def rounded(shipped: library.Installed, home: str) -> str:
    """Path of its encoder in int8, made of its weights: it ships in float32, being small."""
    weights = load_file(shipped.path(library.WEIGHTS))
    path = f"{home}/toy.int8.onnx"
    shape = Model(shipped.manifest).encoder
    export.encoder(path, shape, lambda key: weights[f"encoder.{key}"].astype(np.float32), True)
    return path
