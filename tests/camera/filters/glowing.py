"""A face model that a person can foresee: a face is a white block of 8 × 8 pixels."""

import hashlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

#: Offset .5 and exp(0): the box is the very block.
OFFSET = np.array([0.5, 0.5, 0, 0], np.float32)


def _stride(stride, kernel_gain):
    def named(part):
        return f"{part}_{stride}"

    window = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
    return [
        helper.make_node("AveragePool", ["grey"], [named("mean")], **window),
        helper.make_node("Mul", [named("mean"), kernel_gain], [named("bright")]),
        helper.make_node("Reshape", [named("bright"), "list"], [named("cls")]),
        helper.make_node("Identity", [named("cls")], [named("obj")]),
        helper.make_node("Mul", [named("cls"), "zeros"], [named("flat")]),
        helper.make_node("Add", [named("flat"), "offset"], [named("bbox")]),
    ]


def write(path, outputs=("cls", "obj", "bbox")):
    """The file; its SHA-256."""
    arrays = {
        "list": np.array([1, -1, 1]),
        "gain": np.float32(1 / 255),
        "never": np.float32(0),
        "zeros": np.zeros(4, np.float32),
        "offset": OFFSET,
    }
    nodes = [helper.make_node("ReduceMean", ["input"], ["grey"], axes=[1])]
    for stride in (8, 16, 32):
        nodes += _stride(stride, "gain" if stride == 8 else "never")
    kind = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("input", kind, [1, 3, "h", "w"])]
    told = [f"{part}_{stride}" for part in outputs for stride in (8, 16, 32)]
    graph = helper.make_graph(
        nodes,
        "glowing",
        inputs,
        [helper.make_tensor_value_info(name, kind, None) for name in told],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()
