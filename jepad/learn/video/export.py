"""V-JEPA 2's parts as ONNX graphs: encoder, mask predictor, one step of the action predictor,
attentive probe.

Owns: names and order of the graphs' inputs and outputs, the layout of their weights.
Does not know: where weights come from, what they are worth in int8 (gate.py).

Common to all: float32; B, and the counts of tokens, are free; tables are
`jepad.vision.grid.tables(rope, positions, halves=True)`, [R, N, head] with R = 1 (one grid for
all) or B. Query and key rows are permuted here so that a rotation pairs the halves of a head: the
same numbers as turning neighbours, in a third of the operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepad.jepa.video.shape import ActionShape, EncoderShape, PredictorShape, ProbeShape
from jepad.learn.video.graph import Graph, Linear, Norm
from jepad.learn.video.quantise import per_channel, quantised
from jepad.vision.grid import halves_order

#: A tensor of the part by Meta's name, float32.
Read = Callable[[str], NDArray[np.float32]]
#: Names of what goes in and comes out, in order; export and engines agree on them here.
INPUTS: Mapping[str, tuple[str, ...]] = {
    "encoder": ("patches", "cos", "sin"),
    "predictor": ("context", "cos", "sin", "mask_index"),
    "action": ("tokens", "action", "state", "cos", "sin", "past_keys", "past_values"),
    "probe": ("tokens",),
}
OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "encoder": ("tokens",),
    "predictor": ("targets",),
    "action": ("next", "keys", "values"),
    "probe": ("logits",),
}
LEVELS, CONTEXT_OUT, EXTRINSICS = "levels", "context_out", "extrinsics"


class _Float(NamedTuple):
    weight: NDArray[np.float32]  # [out, in]
    bias: NDArray[np.float32]


class Trunk(NamedTuple):
    """A stack of blocks and how it is written."""

    read: Read
    prefix: str  # of the blocks' names
    depth: int
    heads: int
    eps: float
    int8: bool
    turns: bool = True  # queries and keys by their place


class Turned(NamedTuple):
    """Tables ready for [B, N, 2, heads, head], and the shape of that with values beside."""

    cos: str  # "" where nothing is turned
    sin: str  # negative where a half is subtracted
    split: str  # [B, N, 3, heads, head]
    head: int
    past: _Past | None = None


class _Past:
    """Keys and values of earlier steps, layer by layer, and those this step adds."""

    def __init__(self, graph: Graph, inputs: Sequence[str], batch: str, heads: int) -> None:
        self._inputs, self._heads = inputs, heads
        self._expand = graph.node("Concat", batch, graph.constant([1, 1, 1]), axis=0)
        self.made: tuple[list[str], list[str]] = ([], [])

    def join(self, graph: Graph, layer: int, fresh: Sequence[str]) -> list[str]:
        """fresh [B, N, 1, heads, head], keys and values -> [B, heads, P + N, head] each."""
        out = []
        for source, new, made in zip(self._inputs, fresh, self.made, strict=True):
            old = graph.node("Gather", source, graph.constant(layer), axis=0)
            old = graph.node("Expand", old, self._expand)
            now = graph.node("Squeeze", new, graph.constant([2]))
            now = graph.node("Transpose", now, perm=[0, 2, 1, 3])
            made.append(graph.node("Unsqueeze", now, graph.constant([0])))
            out.append(graph.node("Concat", old, now, axis=2))
        return out


def encoder(path: str, shape: EncoderShape, read: Read, int8: bool, levels: bool = False) -> int:
    """patches [B, K, 3·tubelet·patch²] -> tokens [B, K, width] after the last norm; with `levels`
    (2.1) also levels [B, K, len(levels)·width], for a predictor that reads them.

    Where the shape knows images, patches of one frame, [B, K, 3·patch²], go through their own
    embedding into the same blocks. Returns the bytes of its weights.
    """
    trunk = Trunk(read, "blocks", shape.depth, shape.heads, shape.block.eps, int8)
    head = shape.width // shape.heads
    with Graph(path) as graph:
        patches = graph.input("patches", ["B", "K", "P" if shape.image else shape.inputs])
        turned = _tables(graph, patches, "K", (shape.heads, head))
        x = _patched(graph, shape, read, patches)
        final = "norms_block." + str(len(shape.levels) - 1) if shape.levels else "norm"
        read_at = dict(zip(shape.levels, range(len(shape.levels)), strict=True)) if levels else {}
        between = []
        for i in range(shape.depth):
            x = _block(graph, trunk, i, x, turned)
            if i in read_at:
                name = f"norms_block.{read_at[i]}"
                between.append(graph.norm(x, f"level.{read_at[i]}", _norm(read, name, trunk.eps)))
        last = graph.norm(x, "norm", _norm(read, final, trunk.eps))
        graph.output("tokens", _like(graph, last, patches, shape.width), ["B", "K", shape.width])
        if levels:
            width = shape.width * len(between)
            joined = graph.node("Concat", *between, axis=-1)
            graph.output(LEVELS, _like(graph, joined, patches, width), ["B", "K", width])
    return graph.size


def predictor(path: str, shape: PredictorShape, read: Read) -> int:
    """context [B, C, source·levels], tables of C + T tokens (context first), mask_index [] int64
    -> targets [B, T, output]; 2.1 also context_out [B, C, output]. Always float.

    Order does not matter inside: every token carries its position. Returns bytes of weights.
    """
    trunk = Trunk(read, "predictor_blocks", shape.depth, shape.heads, shape.block.eps, False)
    head, wide = shape.width // shape.heads, shape.source * max(shape.levels, 1)
    with Graph(path) as graph:
        context = graph.input("context", ["B", "C", wide])
        turned = _tables(graph, context, "N", (shape.heads, head))
        x = _embedded(graph, read, graph.reshape(context, -1, wide), shape.levels)
        seen = _like(graph, x, context, shape.width)
        whole = graph.node("Concat", seen, _masks(graph, read, shape, context), axis=1)
        if shape.modality:
            added = graph.weight("video_mod_embed", read("video_mod_embed").reshape(-1))
            whole = graph.node("Add", whole, added)
        x = graph.reshape(whole, -1, shape.width)
        for i in range(shape.depth):
            x = _block(graph, trunk, i, x, turned)
        x = graph.norm(x, "predictor_norm", _norm(read, "predictor_norm", trunk.eps))
        tokens = _like(graph, x, whole, shape.width)
        count = _dimension(graph, context, 1)
        end = _dimension(graph, whole, 1)
        last = graph.node("Slice", tokens, count, end, graph.constant([1]))
        _projected(graph, read, "predictor_proj", last, ("targets", "T"))
        if shape.context_head:
            first = graph.node("Slice", tokens, graph.constant([0]), count, graph.constant([1]))
            _projected(graph, read, "predictor_proj_context", first, (CONTEXT_OUT, "C"))
    return graph.size


def action(path: str, shape: ActionShape, read: Read) -> int:
    """One step: tokens [B, K, source] (one for all: [1, K, source]) of this frame, action
    [B, actions], state [B, states], tables of the step's 2 + K tokens (3 + K and an input
    `extrinsics` where the shape has them), past_keys and past_values
    [layers, B or 1, heads, P, head] -> next [B, K, source] raw, and keys, values
    [layers, B, heads, 2 + K, head] of this step: append them to the past. Always float.
    """
    head, trunk = shape.width // shape.heads, Trunk(
        read, "predictor_blocks", shape.depth, shape.heads, shape.block.eps, False
    )  # fmt: skip
    with Graph(path) as graph:
        tokens = graph.input("tokens", ["S", "K", shape.source])
        told = [
            _told(graph, read, "action", shape.actions),
            _told(graph, read, "state", shape.states),
        ]
        if shape.extrinsics:
            told.append(_told(graph, read, EXTRINSICS, shape.actions - 1))
        batch = _dimension(graph, told[0], 0)
        embed = _plain(read, "predictor_embed")
        x = graph.linear(graph.reshape(tokens, -1, shape.source), "predictor_embed", embed)
        x = _like(graph, x, tokens, shape.width)
        spread = graph.node("Concat", batch, graph.constant([1, 1]), axis=0)
        whole = graph.node("Concat", *told, graph.node("Expand", x, spread), axis=1)
        turned = _tables(graph, whole, "N", (shape.heads, head))
        pasts = [graph.input(name, [shape.depth, "R2", shape.heads, "P", head])
                 for name in ("past_keys", "past_values")]  # fmt: skip
        past = _Past(graph, pasts, batch, shape.heads)
        x = graph.reshape(whole, -1, shape.width)
        for i in range(shape.depth):
            x = _block(graph, trunk, i, x, turned._replace(past=past))
        x = _like(graph, x, whole, shape.width)
        frame = graph.node("Slice", x, graph.constant([len(told)]), _dimension(graph, whole, 1),
                           graph.constant([1]))  # fmt: skip
        frame = graph.norm(frame, "predictor_norm", _norm(read, "predictor_norm", trunk.eps))
        _projected(graph, read, "predictor_proj", frame, ("next", "K"))
        dims: list[int | str] = [shape.depth, "B", shape.heads, "N", head]
        for name, made in zip(("keys", "values"), past.made, strict=True):
            graph.output(name, graph.node("Concat", *made, axis=0), dims)
    return graph.size


def probe(path: str, shape: ProbeShape, read: Read) -> int:
    """tokens [B, K, width] of an encoder -> logits [B, classes]. Always float, no positions."""
    trunk = Trunk(
        read, "pooler.blocks", shape.depth - 1, shape.heads, shape.eps, False, turns=False
    )
    width, name = shape.width, "pooler.cross_attention_block"
    with Graph(path) as graph:
        tokens = graph.input("tokens", ["B", "K", width])
        heads = graph.constant([3, shape.heads, width // shape.heads])
        split = graph.node("Concat", graph.node("Shape", tokens, start=0, end=2), heads, axis=0)
        x = graph.reshape(tokens, -1, width)
        for i in range(trunk.depth):
            x = _block(graph, trunk, i, x, Turned("", "", split, width // shape.heads))
        seen = graph.norm(x, f"{name}.norm1", _norm(read, f"{name}.norm1", shape.eps))
        both = graph.linear(seen, f"{name}.xattn.kv", _plain(read, f"{name}.xattn.kv"))
        halves = graph.split(both, [width] * 2, -1)
        key, value = (_like(graph, each, tokens, width) for each in halves)
        query = read("pooler.query_tokens").reshape(1, width)
        asked = graph.linear(
            graph.weight("query_tokens", query), f"{name}.xattn.q", _plain(read, f"{name}.xattn.q")
        )
        size = graph.node(
            "Concat", _dimension(graph, tokens, 0), graph.constant([1, width]), axis=0
        )
        asked = graph.node("Expand", graph.node("Unsqueeze", asked, graph.constant([0])), size)
        mixed = graph.reshape(graph.attend(asked, key, value, shape.heads), -1, width)
        x = _mlp(graph, read, name, graph.node("Add", mixed, "query_tokens"), shape.eps)
        graph.output("logits", graph.linear(x, "linear", _plain(read, "linear")),
                     ["B", shape.classes])  # fmt: skip
    return graph.size


def _patched(graph: Graph, shape: EncoderShape, read: Read, patches: str) -> str:
    """patches -> [B·K, width], by the embedding of what they were cut from."""

    def embedded(name: str, modality: str, size: int) -> str:
        flat = read(f"{name}.proj.weight").reshape(shape.width, size)
        bias = read(f"{name}.proj.bias")
        if shape.modality:
            bias = bias + read(modality).reshape(-1)
        return graph.linear(graph.reshape(patches, -1, size), name, Linear(flat, bias))

    def clip() -> str:
        return embedded("patch_embed", "video_mod_embed", shape.inputs)

    def image() -> str:
        return embedded("patch_embed_img", "img_mod_embed", shape.image_inputs)

    if not shape.image:
        return clip()
    one = graph.constant([shape.image_inputs])
    return graph.either(graph.node("Equal", _dimension(graph, patches, 2), one), image, clip)


def _tables(graph: Graph, like: str, count: str, heads: tuple[int, int]) -> Turned:
    cos, sin = (graph.input(name, ["R", count, heads[1]]) for name in ("cos", "sin"))
    sign = np.repeat([-1.0, 1.0], heads[1] // 2)
    sin = graph.node("Mul", sin, graph.constant(sign, np.float32))
    split = graph.node("Concat", _dimension(graph, like, 0), _dimension(graph, cos, 1),
                       graph.constant([3, *heads]), axis=0)  # fmt: skip
    axes = graph.constant([2, 3])
    return Turned(
        graph.node("Unsqueeze", cos, axes), graph.node("Unsqueeze", sin, axes), split, heads[1]
    )


def _block(graph: Graph, trunk: Trunk, i: int, x: str, turned: Turned) -> str:
    """x [rows, width] -> the same after block i."""
    name = f"{trunk.prefix}.{i}"
    seen = graph.norm(x, f"{name}.norm1", _norm(trunk.read, f"{name}.norm1", trunk.eps))
    mixed = _attention(graph, trunk, i, seen, turned)
    x = graph.node(
        "Add", x, graph.linear(mixed, f"{name}.attn.proj", _layer(trunk, i, "attn.proj"))
    )
    seen = graph.norm(x, f"{name}.norm2", _norm(trunk.read, f"{name}.norm2", trunk.eps))
    wide = graph.linear(seen, f"{name}.mlp.fc1", _layer(trunk, i, "mlp.fc1"))
    wide = graph.node("Gelu", wide)
    return graph.node("Add", x, graph.linear(wide, f"{name}.mlp.fc2", _layer(trunk, i, "mlp.fc2")))


def _mlp(graph: Graph, read: Read, name: str, x: str, eps: float) -> str:
    """x [rows, width] -> the same after a norm and an MLP beside it; float."""
    seen = graph.norm(x, f"{name}.norm2", _norm(read, f"{name}.norm2", eps))
    wide = graph.linear(seen, f"{name}.mlp.fc1", _plain(read, f"{name}.mlp.fc1"))
    out = graph.linear(graph.node("Gelu", wide), f"{name}.mlp.fc2", _plain(read, f"{name}.mlp.fc2"))
    return graph.node("Add", x, out)


def _attention(graph: Graph, trunk: Trunk, i: int, x: str, turned: Turned) -> str:
    """x [rows, width] -> [rows, width], before the output projection."""
    qkv = graph.linear(x, f"{trunk.prefix}.{i}.attn.qkv", _layer(trunk, i, "attn.qkv"))
    asked, value = graph.split(graph.node("Reshape", qkv, turned.split), [2, 1], 2)
    if turned.cos:
        low, high = graph.split(asked, [turned.head // 2] * 2, -1)
        other = graph.node("Concat", high, low, axis=-1)
        asked = graph.node(
            "Add", graph.node("Mul", asked, turned.cos), graph.node("Mul", other, turned.sin)
        )
    query, key = graph.split(asked, [1, 1], 2)
    width = trunk.heads * turned.head
    if turned.past is None:
        key, value = (graph.reshape(each, 0, 0, width) for each in (key, value))
    else:
        key, value = turned.past.join(graph, i, (key, value))
    mixed = graph.attend(graph.reshape(query, 0, 0, width), key, value, trunk.heads)
    return graph.reshape(mixed, -1, width)


def _layer(trunk: Trunk, i: int, layer: str) -> Linear:
    """A block's linear layer, in int8 where it is to be."""
    name = f"{trunk.prefix}.{i}.{layer}"
    found = _linear(trunk.read, name)
    weight, bias = found.weight, found.bias
    if layer == "attn.qkv" and trunk.turns:
        order = _paired(trunk.heads, weight.shape[1] // trunk.heads)
        weight, bias = weight[order], bias[order]
    if trunk.int8 and quantised(name, trunk.depth):
        return Linear(per_channel(weight), bias)
    return Linear(weight, bias)


def _linear(read: Read, name: str) -> _Float:
    return _Float(read(f"{name}.weight"), read(f"{name}.bias"))


def _plain(read: Read, name: str) -> Linear:
    return Linear(*_linear(read, name))


def _norm(read: Read, name: str, eps: float) -> Norm:
    return Norm(read(f"{name}.weight"), read(f"{name}.bias"), eps)


def _paired(heads: int, head: int) -> NDArray[np.int64]:
    """Rows of qkv, those of query and key in the order that turns halves."""
    order = (np.arange(heads)[:, None] * head + halves_order(head)).reshape(-1)
    width = heads * head
    return np.concatenate([order, order + width, np.arange(2 * width, 3 * width)])


def _embedded(graph: Graph, read: Read, x: str, levels: int) -> str:
    """Context tokens to the predictor's width; of several levels through one hidden layer."""
    if levels <= 1:
        return graph.linear(x, "predictor_embed", _plain(read, "predictor_embed"))
    x = graph.linear(x, "predictor_embed.0", _plain(read, "predictor_embed.0"))
    return graph.linear(
        graph.node("Gelu", x), "predictor_embed.2", _plain(read, "predictor_embed.2")
    )


def _masks(graph: Graph, read: Read, shape: PredictorShape, context: str) -> str:
    """The chosen mask token at every target: [B, T, width]."""
    index = graph.input("mask_index", [], np.int64)
    rows = [read(f"mask_tokens.{i}").reshape(-1) for i in range(shape.mask_tokens)]
    index = graph.node("Mod", index, graph.constant(shape.mask_tokens))
    token = graph.node("Gather", graph.weight("mask_tokens", np.stack(rows)), index, axis=0)
    count = graph.node("Sub", _dimension(graph, "cos", 1), _dimension(graph, context, 1))
    size = graph.node("Concat", _dimension(graph, context, 0), count, graph.constant([1]), axis=0)
    return graph.node("Expand", token, size)


def _told(graph: Graph, read: Read, name: str, size: int) -> str:
    """A condition [B, size] -> its token [B, 1, width]."""
    given = graph.input(name, ["B", size])
    token = graph.linear(given, f"{name}_encoder", _plain(read, f"{name}_encoder"))
    return graph.node("Unsqueeze", token, graph.constant([1]))


def _projected(graph: Graph, read: Read, name: str, x: str, out: tuple[str, str]) -> None:
    """x [B, N, width] through an output layer -> output `out[0]` [B, out[1], size]."""
    layer = _linear(read, name)
    size, width = layer.weight.shape
    y = graph.linear(graph.reshape(x, -1, width), name, Linear(*layer))
    graph.output(out[0], _like(graph, y, x, size), ["B", out[1], size])


def _like(graph: Graph, x: str, like: str, width: int) -> str:
    """x [B·N, width] -> [B, N, width], with B and N of `like`."""
    size = graph.node("Concat", graph.node("Shape", like, start=0, end=2),
                      graph.constant([width]), axis=0)  # fmt: skip
    return graph.node("Reshape", x, size)


def _dimension(graph: Graph, x: str, axis: int) -> str:
    """[1]: x's size along an axis."""
    return graph.node("Shape", x, start=axis, end=axis + 1)
