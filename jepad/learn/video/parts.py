"""The parts of a video model as torch modules: which tensors each has, filled from any reader.

Owns: part name to module. Does not know: files, key schemes, graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from jepad.errors import ModelError
from jepad.jepa.video.action import ActionPredictor
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.predictor import MaskPredictor
from jepad.jepa.video.probe import AttentiveProbe
from jepad.jepa.video.shape import (
    ActionShape,
    AnyShape,
    EncoderShape,
    PredictorShape,
    from_json,
)

Shapes = Mapping[str, AnyShape]  # part to its shape


def module(shape: AnyShape) -> nn.Module:
    """The network of a shape, without memory for its parameters."""
    with torch.device("meta"):
        if isinstance(shape, EncoderShape):
            return VideoEncoder(shape)
        if isinstance(shape, PredictorShape):
            return MaskPredictor(shape)
        if isinstance(shape, ActionShape):
            return ActionPredictor(shape)
        return AttentiveProbe(shape)


def expected(shape: AnyShape) -> dict[str, tuple[int, ...]]:
    """Meta's name to size, of every tensor the network has."""
    return {name: tuple(tensor.shape) for name, tensor in module(shape).state_dict().items()}


def filled(shape: AnyShape, read: Callable[[str], Tensor]) -> nn.Module:
    """The network with its tensors, as `read` gives them by Meta's name; not copied."""
    out = module(shape)
    out.load_state_dict({name: read(name) for name in out.state_dict()}, strict=True, assign=True)
    return out.requires_grad_(False).eval()


def shapes_of(table: Mapping[str, object]) -> dict[str, AnyShape]:
    """A manifest's `shapes`. ModelError: a part that is no such shape."""
    out = {part: from_json(data) for part, data in table.items()}
    wrong = [part for part, data in table.items() if not _is(part, data)]
    if wrong:
        raise ModelError(f"shape of {wrong[0]} is of another kind; import the model again")
    return out


def _is(part: str, data: object) -> bool:
    return isinstance(data, Mapping) and data.get("kind") == part
