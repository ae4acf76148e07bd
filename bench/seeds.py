"""The models that one bench scores: the one that ships, and its sisters of other seeds.

Owns: where the sisters lie (bench/seeds, made by `python -m jepad.learn.train --seed`), the
spread between them. Does not know: what is measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.report import Cell
from jepad.engine.onnx import load as load_graph
from jepad.learn.score import Graph
from jepad.models.store import ModelFiles

SISTERS = os.path.join(os.path.dirname(__file__), "seeds")


def graphs(model: ModelFiles) -> list[Graph]:
    """The graph that ships, then the sisters in the order of their names; ModelError where one is
    not what its card says."""
    names = sorted(os.listdir(SISTERS)) if os.path.isdir(SISTERS) else []
    places = [(model.onnx_path, model.digest)]
    for name in (n for n in names if n.endswith(".json")):
        with open(os.path.join(SISTERS, name), encoding="utf-8") as file:
            card = json.load(file)
        places += [(os.path.join(SISTERS, path), sha) for path, sha in card["files"].items()]
    return [load_graph(path, sha).infer for path, sha in places]


def note(found: Sequence[Graph]) -> str:
    """What the figures are means of."""
    return f"figures of jepad are means over {len(found)} seeds; the first one ships"


def spread(each: Sequence[NDArray[np.floating]]) -> list[list[Cell]]:
    """Rows under a mean: its deviation over the seeds, and the shipped seed's own."""
    if len(each) < 2:
        return []
    deviation = np.std(each, axis=0, ddof=1)
    return [["  ± over seeds", *map(float, deviation)], ["  as shipped", *map(float, each[0])]]
