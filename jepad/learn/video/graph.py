"""An ONNX graph written node by node, its weights streamed to a file beside it.

Owns: nodes of a transformer in ONNX Runtime's operators, float and int8; external data.
Does not know: which model is written; V-JEPA 2's parts are in export.py.

Written, not traced: a graph of a billion parameters needs the memory of its largest weight, and
its shape does not depend on what an exporter makes of a loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from jepad.learn.video.quantise import Channels

OPSET, MICROSOFT, IR = 20, "com.microsoft", 9
_INLINE = 1024  # bytes: smaller weights stay inside the graph
_LARGE, _PAGE, _WORD = 1 << 20, 4096, 64  # large weights start a page, small ones a cache line
_ZERO = 128  # uint8 activations stand for -127..127 around it
_KINDS = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}


class Linear(NamedTuple):
    """A linear layer's weights: float [out, in], or int8."""

    weight: NDArray[np.float32] | Channels
    bias: NDArray[np.float32]  # [out]


class Norm(NamedTuple):
    """A layer norm's."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    eps: float


class Graph:
    """`with Graph(path) as graph`: add nodes; the file is complete at the end of the block.

    Every method returns the name of its output. `size` counts the bytes of weights.
    """

    def __init__(self, path: str) -> None:
        self.path, self.size = path, 0
        self._data = open(f"{path}.data", "wb")  # noqa: SIM115 - closed by __exit__
        self._nodes: list[onnx.NodeProto] = []
        self._made = 0  # nodes, those of branches too
        self._weights: list[TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple[str, bytes, tuple[int, ...]], str] = {}

    def input(self, name: str, dims: Sequence[int | str], kind: type = np.float32) -> str:
        """An input; a str names a free dimension."""
        value = helper.make_tensor_value_info(name, _KINDS[np.dtype(kind)], list(dims))
        self._inputs.append(value)
        return name

    def output(self, name: str, source: str, dims: Sequence[int | str]) -> None:
        """An output; float32."""
        self._nodes.append(helper.make_node("Identity", [source], [name]))
        self._made += 1
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims)))

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node of one output."""
        return self.nodes(kind, inputs, 1, domain=domain, **attributes)[0]

    def nodes(
        self, kind: str, inputs: Sequence[str], count: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """A node of several outputs."""
        names = [f"{kind}_{self._made}_{i}" for i in range(count)]
        self._made += 1
        self._nodes.append(
            helper.make_node(kind, list(inputs), names, names[0], domain=domain, **attributes)
        )
        return names

    def either(self, condition: str, then: Callable[[], str], otherwise: Callable[[], str]) -> str:
        """What one of two makes; the other is not computed. `condition` is a bool [1]."""
        outside, branches = self._nodes, {}
        for name, make in (("then_branch", then), ("else_branch", otherwise)):
            self._nodes = []
            # Its shape may differ from call to call; the runtime finds it out.
            out = helper.make_tensor_value_info(make(), TensorProto.FLOAT, None)
            branches[name] = helper.make_graph(self._nodes, name, [], [out])
        self._nodes = outside
        return self.node("If", condition, **branches)

    def constant(self, values: Any, kind: type = np.int64) -> str:
        """A small constant, kept once however often it is asked for."""
        array: NDArray[Any] = np.asarray(values, kind)
        key = (array.dtype.str, array.tobytes(), array.shape)
        if key not in self._constants:
            self._constants[key] = self.weight(f"constant_{len(self._constants)}", array)
        return self._constants[key]

    def weight(self, name: str, array: NDArray[Any]) -> str:
        """An initializer."""
        array = np.asarray(array, order="C")
        self.size += array.nbytes
        if array.nbytes < _INLINE:
            self._weights.append(numpy_helper.from_array(array, name))
        else:
            self._weights.append(self._external(name, array))
        return name

    def linear(self, x: str, name: str, layer: Linear) -> str:
        """x [rows, in] -> [rows, out]."""
        if isinstance(layer.weight, Channels):
            product = self._integer(x, name, layer.weight)
        else:
            product = self.node("MatMul", x, self.weight(f"{name}.weight", layer.weight.T))
        # [1, out] in int8: a flat one would be fused into a GELU that is slower than it and an Add.
        bias = layer.bias[None] if isinstance(layer.weight, Channels) else layer.bias
        return self.node("Add", product, self.weight(f"{name}.bias", bias))

    def norm(self, x: str, name: str, layer: Norm) -> str:
        """Layer norm over the last axis."""
        names = [
            self.weight(f"{name}.weight", layer.weight),
            self.weight(f"{name}.bias", layer.bias),
        ]
        return self.node("LayerNormalization", x, *names, axis=-1, epsilon=layer.eps)

    def attend(self, q: str, k: str, v: str, heads: int) -> str:
        """q [B, N, D]; k, v [B, N, D] or [B, heads, M, head]; -> [B, N, D]."""
        return self.node("MultiHeadAttention", q, k, v, domain=MICROSOFT, num_heads=heads)

    def reshape(self, x: str, *shape: int) -> str:
        """As numpy's, 0 keeping a dimension."""
        return self.node("Reshape", x, self.constant(shape))

    def split(self, x: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Pieces of known sizes."""
        return self.nodes("Split", [x, self.constant(sizes)], len(sizes), axis=axis)

    def _integer(self, x: str, name: str, weight: Channels) -> str:
        """Dynamic int8. Activations get a scale a token: one wild token does not coarsen the
        others, and what a clip becomes does not depend on what shares its batch."""
        last, zero = self.constant([-1]), self.constant(_ZERO, np.uint8)
        top = self.node("ReduceMax", self.node("Abs", x), last, keepdims=0)
        scale = self.node("Mul", top, self.constant(1 / 127, np.float32))
        scale = self.node("Add", scale, self.constant(1e-30, np.float32))
        zeros = self.node("Expand", zero, self.node("Shape", scale))
        whole = self.node("QuantizeLinear", x, scale, zeros, axis=0)
        values = self.weight(f"{name}.weight", weight.values.T)
        scales = self.weight(f"{name}.scales", weight.scales)
        one = self.constant(1, np.float32)
        product = self.node("MatMulIntegerToFloat", whole, values, one, scales, zero,
                            domain=MICROSOFT)  # fmt: skip
        return self.node("Mul", product, self.node("Unsqueeze", scale, last))

    def _external(self, name: str, array: NDArray[Any]) -> TensorProto:
        apart = _PAGE if array.nbytes >= _LARGE else _WORD
        self._data.write(b"\0" * (-self._data.tell() % apart))
        place = {
            "location": os.path.basename(self._data.name),
            "offset": str(self._data.tell()),
            "length": str(array.nbytes),
        }
        self._data.write(array.reshape(-1).view(np.uint8).data)
        out = TensorProto(
            name=name,
            dims=array.shape,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in place.items():
            out.external_data.add(key=key, value=value)
        return out

    def __enter__(self) -> Graph:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._data.close()
        if error is not None:
            return
        graph = helper.make_graph(self._nodes, "jepad", self._inputs, self._outputs, self._weights)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="jepad")
        with open(self.path, "wb") as f:
            f.write(model.SerializeToString(deterministic=True))
