"""A trained model to the files that ship: safetensors, ONNX int8, card.

Owns: export, quantisation, the proof that the int8 graph says what torch said.
Does not know: how the model was trained; the card's story comes from the caller.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Mapping

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from jepad.jepa.world import Exported, Feeds, WorldModel
from jepad.learn.traces import digest
from jepad.models.store import CARD, GRAPH, WEIGHTS

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as in engine/onnx.py: before it loads
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

OUTPUTS = ("quantiles", "p_rise", "z", "z_hat", "effect")
Arrays = dict[str, NDArray[np.float32]]


def export(
    model: WorldModel, example: Feeds, directory: str, story: Mapping[str, object]
) -> dict[str, object]:
    """Write the three files into `directory`, each replaced atomically; returns the card."""
    os.makedirs(directory, exist_ok=True)
    graph = Exported(model.float()).eval()
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        whole, small = os.path.join(scratch, "whole.onnx"), os.path.join(scratch, GRAPH)
        to_onnx(graph, example, whole)
        quantise(whole, small, model.shape.width)
        weights = os.path.join(scratch, WEIGHTS)
        save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, weights)
        card = dict(story) | {
            "checks": {
                "onnx": difference(graph, example, whole),
                "int8": difference(graph, example, small),
            },
            "bytes": {GRAPH: os.path.getsize(small), WEIGHTS: os.path.getsize(weights)},
            "files": {GRAPH: digest(small), WEIGHTS: digest(weights)},
        }
        path = os.path.join(scratch, CARD)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(card, f, indent=1)
            f.write("\n")
        for made in (weights, small, path):
            os.chmod(made, 0o644)
            os.replace(made, os.path.join(directory, os.path.basename(made)))
    return card


def to_onnx(graph: Exported, example: Feeds, path: str) -> None:
    """fp32, with batch and channels free."""
    free = {
        0: torch.export.Dim("batch", min=1, max=4096),
        1: torch.export.Dim("channels", min=1, max=4096),
    }
    with warnings.catch_warnings():
        # Of the exporter's own inside, and of names for axes that are one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            tuple(example),
            path,
            input_names=list(Feeds._fields),
            output_names=list(OUTPUTS),
            dynamic_shapes=(tuple(free for _ in Feeds._fields),),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def quantise(whole: str, small: str, width: int) -> None:
    """The blocks' weights to int8 per channel, their activations at run time.

    Embeddings and read-out stay in fp32: they are small, and their inputs have wild ranges.
    """
    model = onnx.load(_folded(whole))
    # The exporter's shape notes go stale when weights are transposed for quantisation.
    del model.graph.value_info[:]
    weights = {i.name for i in model.graph.initializer if len(i.dims) == 2 and min(i.dims) >= width}
    nodes = [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    quantize_dynamic(
        model,
        small,
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_quantize=[n.name for n in nodes],
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
    )


def _folded(whole: str) -> str:
    """The graph with everything constant worked out, so that sliced weights are weights too."""
    options = _options(1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = f"{whole}.folded"
    onnxruntime.InferenceSession(whole, options, ["CPUExecutionProvider"])
    return f"{whole}.folded"


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return options


def infer(path: str, feeds: Mapping[str, NDArray[np.float32]], threads: int = 1) -> Arrays:
    """Run a graph once."""
    return session(path, threads)(feeds)


class session:
    """A graph, ready to run."""

    def __init__(self, path: str, threads: int = 1) -> None:
        self._run = onnxruntime.InferenceSession(path, _options(threads), ["CPUExecutionProvider"])

    def __call__(self, feeds: Mapping[str, NDArray[np.float32]]) -> Arrays:
        """Feeds by name to outputs by name."""
        return dict(zip(OUTPUTS, self._run.run(list(OUTPUTS), dict(feeds)), strict=True))


def difference(graph: Exported, example: Feeds, path: str) -> dict[str, float]:
    """Largest and mean absolute difference of the medians and the worst cosine of z."""
    with torch.no_grad():
        expected = [t.numpy() for t in graph(*example)]
    got = infer(path, {k: v.numpy() for k, v in example._asdict().items()})
    gap = np.abs(got["quantiles"] - expected[0])
    a, b = got["z"], expected[2]
    cosine = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1) + 1e-9)
    return {
        "quantiles_max": float(gap.max()),
        "quantiles_mean": float(gap.mean()),
        "quantiles_size": float(np.abs(expected[0]).mean()),
        "p_rise_max": float(np.abs(got["p_rise"] - expected[1]).max()),
        "z_cosine_min": float(cosine.min()),
    }
