"""The gate's figures of a graph on disk: ONNX Runtime beside torch in float32, on made-up clips.

Owns: running both sides. Does not know: limits (gate.py), files but the graphs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepad.jepa.attention import Turn
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.shape import ActionShape, AnyShape, EncoderShape
from jepad.jepa.video.steps import CONDITIONS, places
from jepad.learn.video import export, gate, parts
from jepad.models.library import graph_name
from jepad.vision.grid import Grid, positions, tables

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it loads
import onnxruntime

Array = NDArray[np.float32]
_CLIPS, _PLANS, _ACTIONS = 4, 10, 8
_SPAN = 0.05  # of the actions tried: metres a step, as DROID's


class Graph:
    """A graph on disk, ready to run."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])

    def __call__(self, names: tuple[str, ...], feeds: Mapping[str, Array]) -> list[Array]:
        """Outputs by name, in that order."""
        out: list[Array] = self._session.run(list(names), dict(feeds))
        return out


class Measured(NamedTuple):
    """A graph of an encoder and the tensors it was made of."""

    directory: str
    precision: str
    shapes: Mapping[str, AnyShape]
    read: Callable[[str, str], Tensor]


def measured(model: Measured, tell: Callable[[int, int], None]) -> gate.Accuracy:
    """The gate's figures; `tell` hears how many clips are done."""
    shape, action = model.shapes["encoder"], model.shapes.get("action")
    assert isinstance(shape, EncoderShape)
    acting = isinstance(action, ActionShape)
    steps = iter(range(1, 10**6))
    total = 2 * _CLIPS + 4 * _PLANS * acting

    def told(encode: gate.Encode) -> gate.Encode:
        def one(patches: Array) -> Array:
            out = encode(patches)
            tell(next(steps), total)
            return out

        return one

    tell(0, total)
    side = shape.size // shape.patch
    grid = Grid(1, side, side)
    graph = Graph(os.path.join(model.directory, graph_name("encoder", model.precision)))
    pair = told(_in_torch(shape, grid, model.read)), told(_in_graph(shape, grid, graph))
    found = _tokens(pair, gate.clips(_CLIPS, grid.tokens, shape.inputs))
    if not isinstance(action, ActionShape):
        return found
    step = Graph(os.path.join(model.directory, graph_name("action", "fp32")))
    draws = gate.clips(2 * _PLANS, grid.tokens, shape.inputs, seed=1)
    pairs = [(draws[i : i + 1], draws[i + 1 : i + 2]) for i in range(0, 2 * _PLANS, 2)]
    tried = np.random.default_rng(0).uniform(-_SPAN, _SPAN, (_ACTIONS, action.actions))
    energies = _energies(action, grid, step)
    same = gate.choices_alike(pairs, pair, energies, tried.astype(np.float32))
    return replace(found, agreement=same)


def _tokens(pair: tuple[gate.Encode, gate.Encode], patches: Array) -> gate.Accuracy:
    """Clip by clip: a billion parameters and four clips at once are much memory."""
    alike = [gate.tokens_alike(*(each(patch[None]) for each in pair)) for patch in patches]
    return gate.Accuracy(
        pooled=min(a.pooled for a in alike),
        worst=min(a.worst for a in alike),
        clips=len(alike),
        tokens=sum(a.tokens for a in alike),
    )


def _in_torch(shape: EncoderShape, grid: Grid, read: Callable[[str, str], Tensor]) -> gate.Encode:
    encoder = parts.filled(shape, lambda key: read("encoder", key).float())
    assert isinstance(encoder, VideoEncoder)
    cos, sin = tables(shape.rope, positions(grid, rescale=shape.rescale))
    turn = Turn(torch.from_numpy(cos), torch.from_numpy(sin))

    def encode(patches: Array) -> Array:
        with torch.no_grad():
            out: Array = encoder(torch.from_numpy(patches), turn).numpy()
        return out

    return encode


def _in_graph(shape: EncoderShape, grid: Grid, graph: Graph) -> gate.Encode:
    cos, sin = tables(shape.rope, positions(grid, rescale=shape.rescale), halves=True)

    def encode(patches: Array) -> Array:
        feeds = {"patches": patches, "cos": cos[None], "sin": sin[None]}
        return graph(export.OUTPUTS["encoder"], feeds)[0]

    return encode


def _energies(shape: ActionShape, grid: Grid, step: Graph) -> gate.Energies:
    conditions = CONDITIONS + shape.extrinsics
    cos, sin = tables(shape.rope, places(grid, conditions=conditions), halves=True)
    none = np.zeros((shape.depth, 1, shape.heads, 0, shape.width // shape.heads), np.float32)

    def energies(start: Array, goal: Array, actions: Array) -> Array:
        feeds = {
            "tokens": _normed(start),
            "action": actions,
            "state": np.zeros((len(actions), shape.states), np.float32),
            "cos": cos[None],
            "sin": sin[None],
            "past_keys": none,
            "past_values": none,
        }
        if shape.extrinsics:
            feeds["extrinsics"] = np.zeros((len(actions), shape.actions - 1), np.float32)
        ahead = _normed(step(("next",), feeds)[0])
        out: Array = np.abs(ahead - _normed(goal)).mean((1, 2))
        return out

    return energies


def _normed(tokens: Array) -> Array:
    """Layer norm without parameters, eps 1e-5."""
    out = torch.nn.functional.layer_norm(torch.from_numpy(tokens), tokens.shape[-1:], eps=1e-5)
    return np.asarray(out.numpy())
