"""A graph that a person can foresee: persistence ± 1 scale, and the sum of the plain guesses."""

import hashlib
import json
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from jepad.heads.guesses import KINDS

FLOAT = TensorProto.FLOAT
OLD = ("x", "valid", "stats", "anchors", "season")
NEW = (*OLD, "action", "effects")
D = 8


def _node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs, [output], **attributes)


def _constants():
    arrays = {
        "none": np.zeros((1, 1, 1, D), np.float32),
        "spread": np.array([-1, 0, 1], np.float32),
        "doubt": np.array([-0.5, 0, 0.5], np.float32),
        "zero": np.zeros(1, np.float32),
        "last": np.array([3]),
        "channels": np.array([1]),
        "both": np.array([1, 2]),
    }
    return [numpy_helper.from_array(a, name) for name, a in arrays.items()]


def _nodes(actions):
    nodes = [
        _node("ReduceSum", ["anchors", "last"], "summed"),
        _node("Mul", ["summed", "zero"], "flat"),  # [B, C, H, 1]
        _node("Add", ["flat", "spread"], "quantiles"),
        _node("Squeeze", ["flat", "last"], "p_rise"),
        _node("Add", ["flat", "none"], "wide"),  # [B, C, H, D]
        _node("ReduceSum", ["wide", "channels"], "z_hat", keepdims=0),
        _node("ReduceSum", ["wide", "both"], "z", keepdims=0),
    ]
    if actions:
        nodes += [
            _node("ReduceSum", ["effects", "last"], "guess"),
            _node("Add", ["guess", "doubt"], "told"),
            _node("ReduceMax", ["action"], "acted", axes=[2]),  # [B, C, 1]
            _node("Unsqueeze", ["acted", "last"], "flag"),
            _node("Mul", ["told", "flag"], "effect"),
        ]
    return nodes


def write(directory, actions=True):
    """The model's files in a directory; its path."""
    inputs = [helper.make_tensor_value_info(n, FLOAT, None) for n in (NEW if actions else OLD)]
    names = ["quantiles", "p_rise", "z", "z_hat", *(["effect"] if actions else [])]
    outputs = [helper.make_tensor_value_info(n, FLOAT, None) for n in names]
    graph = helper.make_graph(_nodes(actions), "tiny", inputs, outputs, _constants())
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = Path(directory) / "machine.onnx"
    save(model, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    card = {"name": "tiny", "files": {path.name: digest}, "actions": list(KINDS)}
    (path.parent / "machine.json").write_text(json.dumps(card))
    return str(path.parent)
