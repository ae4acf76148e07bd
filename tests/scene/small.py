"""Tiny models of every kind, installed: what both runtimes are tested on."""

import functools
import tempfile

import torch
from torch import nn

from jepad.jepa.video.shape import ActionShape, EncoderShape, PredictorShape, ProbeShape
from jepad.learn.video import parts
from jepad.learn.video.install import Recipe, make
from jepad.models import library
from jepad.vision.grid import Grid

ENCODER = EncoderShape(width=48, depth=2, heads=4, hidden=96, size=64, frames=4, layout="tiled")
LATER = EncoderShape(
    width=48, depth=2, heads=4, hidden=96, size=64, frames=4, layout="interleaved",
    rescale=True, version="2.1", image=True, modality=True, levels=(0, 1),
)  # fmt: skip
GRID = Grid(2, 4, 4)
PREDICTOR = PredictorShape(
    width=24, depth=2, heads=2, hidden=48, source=48, output=48, mask_tokens=3, grid=GRID,
    layout="tiled",
)  # fmt: skip
LATER_PREDICTOR = PredictorShape(
    width=24, depth=2, heads=2, hidden=48, source=48, output=96, mask_tokens=3, grid=GRID,
    layout="interleaved", levels=2, context_head=True, modality=True,
)  # fmt: skip
ACTION = ActionShape(
    width=48, depth=2, heads=4, hidden=96, source=48, grid=GRID, layout="tiled", actions=2, states=2
)
PROBE = ProbeShape(width=48, heads=16, depth=4, classes=7, hidden=96)
_KEPT = []
SHAPES = {
    "2.0": {"encoder": ENCODER, "predictor": PREDICTOR},
    "2.1": {"encoder": LATER, "predictor": LATER_PREDICTOR},
    "2-ac": {"encoder": ENCODER, "action": ACTION},
    "2.0 classifier": {"encoder": ENCODER, "probe": PROBE},
}


def network(shape, seed=0):
    """Of random weights, none of them zero."""
    torch.manual_seed(seed)
    made = parts.module(shape).to_empty(device="cpu")
    for name, value in made.state_dict().items():
        if "norm" in name and name.endswith("weight"):
            nn.init.uniform_(value, 0.8, 1.2)
        else:
            nn.init.normal_(value, std=value[0].numel() ** -0.5 if value.ndim > 1 else 0.1)
        if name == "action_encoder.weight":
            value.mul_(1000)  # actions of centimetres matter, as they do in a trained model
    return made.eval().requires_grad_(False)


@functools.cache
def installed(version):
    """A model of SHAPES, made once; gone when the tests are."""
    _KEPT.append(tempfile.TemporaryDirectory(prefix="jepad-test-"))
    directory = _KEPT[-1].name
    modules = {part: network(shape, seed) for seed, (part, shape) in
               enumerate(SHAPES[version].items())}  # fmt: skip
    recipe = Recipe(
        name=version, version=version[:4].strip(), shapes=SHAPES[version], source={"scheme": "own"},
        precisions=("fp32",), random=True, ungated=True,
    )  # fmt: skip
    make(directory, recipe, lambda part, key: modules[part].state_dict()[key], lambda *_: None)
    return library.read(directory)
