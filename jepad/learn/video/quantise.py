"""Weights to int8: signed, symmetric, a scale for every output channel; and which ones stay float.

Owns: the rounding, the choice of layers. Does not know: graphs, files, accuracy (gate.py).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Inside a block: the four products that hold nearly all weights.
_BLOCK = re.compile(r"(?:predictor_)?blocks\.(\d+)\.(?:attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)")
LIMIT = 127  # -128 is not used: the range is symmetric


class Channels(NamedTuple):
    """A weight [out, in] in int8: values * scales[:, None] is it again, to half a step."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]  # [out]


def per_channel(weight: NDArray[np.float32]) -> Channels:
    """weight [out, in]; a channel of zeros gets scale 1."""
    top = np.abs(weight).max(axis=1)
    scales = np.where(top > 0, top / LIMIT, 1).astype(np.float32)
    values = np.rint(weight / scales[:, None]).clip(-LIMIT, LIMIT)
    return Channels(values.astype(np.int8), scales)


def restored(channels: Channels) -> NDArray[np.float32]:
    """The weight an int8 product really uses."""
    return channels.values * channels.scales[:, None]


def quantised(layer: str, depth: int) -> bool:
    """Whether a linear layer (`blocks.3.mlp.fc1`) of an encoder of `depth` blocks becomes int8.

    Stays in float: what is not in a block (patches, embeddings, output projections: their inputs
    have wild ranges or their outputs are what is read), and the last layer of the last block,
    whose error no later norm evens out.
    """
    found = _BLOCK.fullmatch(layer)
    return bool(found) and layer.partition("blocks.")[2] != f"{depth - 1}.mlp.fc2"
