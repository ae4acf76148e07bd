"""What a video model's weights take in memory, told by its shapes alone.

Owns: the count. Does not know: files; for an installed model the manifest says what was written.
"""

from __future__ import annotations

from collections.abc import Mapping

from jepad.jepa.config import BlockShape
from jepad.jepa.video.shape import (
    ActionShape,
    AnyShape,
    EncoderShape,
    PredictorShape,
    Preset,
    ProbeShape,
)
from jepad.models.library import graph_name

_FLOAT = 4  # bytes


def of_preset(preset: Preset) -> dict[str, AnyShape]:
    """A published model's shapes, part by part."""
    found = {"encoder": preset.encoder, "predictor": preset.predictor, "action": preset.action}
    return {part: shape for part, shape in found.items() if shape is not None}


def graphs(shapes: Mapping[str, AnyShape], precision: str) -> dict[str, int]:
    """Graph's file to bytes of weights; to some hundred bytes what an export writes."""
    out = {}
    for part, shape in shapes.items():
        if isinstance(shape, EncoderShape):
            out[graph_name(part, precision)] = _encoder(shape, shapes, precision == "int8")
        elif isinstance(shape, PredictorShape):
            out[graph_name(part, "fp32")] = _FLOAT * _predictor(shape)
        elif isinstance(shape, ActionShape):
            out[graph_name(part, "fp32")] = _FLOAT * _action(shape)
        else:
            out[graph_name(part, "fp32")] = _FLOAT * _probe(shape)
    return out


def resident(shapes: Mapping[str, AnyShape], precision: str) -> int:
    """Bytes of all graphs together, as a manifest's `resident_bytes`."""
    return sum(graphs(shapes, precision).values())


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _block(block: BlockShape) -> int:
    """Numbers of a block."""
    width, hidden = block.width, block.hidden
    return (
        _linear(width, 3 * width)
        + _linear(width, width)
        + _linear(width, hidden)
        + _linear(hidden, width)
        + 4 * width
    )


def _encoder(shape: EncoderShape, shapes: Mapping[str, AnyShape], int8: bool) -> int:
    predictor = shapes.get("predictor")
    levels = isinstance(predictor, PredictorShape) and predictor.levels > 1
    norms = 1 + (len(shape.levels) if levels else 0)
    total = _FLOAT * (
        _linear(shape.inputs, shape.width)
        + (_linear(shape.image_inputs, shape.width) if shape.image else 0)
        + shape.depth * _block(shape.block)
        + norms * 2 * shape.width
    )
    if int8:
        width, hidden = shape.width, shape.hidden
        products = 4 * width * width + 2 * width * hidden
        channels = 5 * width + hidden
        # The last layer of all stays float.
        small = shape.depth * products - hidden * width
        total += _FLOAT * (shape.depth * channels - width) - (_FLOAT - 1) * small
    return total


def _predictor(shape: PredictorShape) -> int:
    heads = 1 + shape.context_head
    embed = _linear(shape.source, shape.width)
    if shape.levels > 1:
        embed += _linear(shape.source * shape.levels, shape.source)
    return (
        embed
        + shape.mask_tokens * shape.width
        + shape.depth * _block(shape.block)
        + 2 * shape.width
        + heads * _linear(shape.width, shape.output)
        + shape.width * shape.modality
    )


def _action(shape: ActionShape) -> int:
    told = _linear(shape.actions, shape.width) + _linear(shape.states, shape.width)
    if shape.extrinsics:
        told += _linear(shape.actions - 1, shape.width)
    return (
        told
        + _linear(shape.source, shape.width)
        + shape.depth * _block(shape.block)
        + 2 * shape.width
        + _linear(shape.width, shape.source)
    )


def _probe(shape: ProbeShape) -> int:
    """Its last block has no output projection, a query of its own, and asks with it."""
    width = shape.width
    return (
        shape.depth * _block(shape.block)
        - _linear(width, width)
        + width
        + _linear(width, shape.classes)
    )
