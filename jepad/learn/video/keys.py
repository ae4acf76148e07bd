"""The two published key schemes of V-JEPA 2 checkpoints, and every name that may be left unread.

Owns: names, Meta's and Hugging Face's, part by part. Does not know: tensors, shapes, files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Entries of Meta's pickles that are no weights of the model: state of its training.
TRAINING = frozenset(
    {"opt", "scaler", "epoch", "loss", "batch_size", "world_size", "lr", "itr", "train_step"}
)
#: Which entry of a pickle is the encoder, by version, the first there is. 2.0 as Meta's own loader
#: and the Hugging Face conversion take it; the other copies are left unread.
ENCODERS = {
    "2.0": ("encoder", "target_encoder"),
    "2-ac": ("encoder", "target_encoder"),
    "2.1": ("ema_encoder", "target_encoder", "encoder"),
}
#: Entry of a pickle of probes.
PROBES = "classifiers"
COPIES = frozenset({"encoder", "target_encoder", "ema_encoder"})
#: Tensors inside a part that are in published files and never used: position tables from before
#: RoPE. Everything else that nothing reads is an error.
UNUSED = {
    "encoder": frozenset({"pos_embed"}),
    "predictor": frozenset({"predictor_pos_embed"}),
    "action": frozenset({"predictor_pos_embed"}),
    "probe": frozenset[str](),
}
_WRAPPERS = ("module.", "backbone.")  # of distributed training, of masking
_BASE = "vjepa2."  # of the classifier's files around the model's own keys

_QKV = ("query", "key", "value")
_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
#: Part to (Meta's prefix, Hugging Face's), tried in order.
_PREFIXES = {
    "encoder": (
        ("patch_embed.", "encoder.embeddings.patch_embeddings."),
        ("blocks.", "encoder.layer."),
        ("norm.", "encoder.layernorm."),
    ),
    "predictor": (
        ("predictor_embed.", "predictor.embeddings.predictor_embeddings."),
        ("predictor_blocks.", "predictor.layer."),
        ("predictor_norm.", "predictor.layernorm."),
        ("predictor_proj.", "predictor.proj."),
    ),
    "probe": (
        ("pooler.blocks.", "pooler.self_attention_layers."),
        ("pooler.cross_attention_block.", "pooler.cross_attention_layer."),
        ("pooler.query_tokens", "pooler.query_tokens"),
        ("linear.", "classifier."),
    ),
}

#: Part to a tensor that says it is there, under Hugging Face's name.
MARKS = {
    "encoder": "encoder.embeddings.patch_embeddings.proj.weight",
    "predictor": "predictor.embeddings.mask_tokens",
    "probe": "classifier.weight",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A tensor under Hugging Face's name, or one row of it."""

    key: str
    row: int | None = None  # None: all of it


def plain(key: str) -> str:
    """Meta's key without the wrappers of its training."""
    stripped = True
    while stripped:
        stripped = False
        for wrapper in _WRAPPERS:
            if key.startswith(wrapper):
                key, stripped = key[len(wrapper) :], True
    return key


def base(key: str) -> str:
    """Hugging Face's key without the classifier's wrapper."""
    return key.removeprefix(_BASE)


def pieces(part: str, key: str) -> tuple[Piece, ...]:
    """Where Hugging Face keeps Meta's tensor `key`: to be joined on the first axis, in this order.

    Empty: that scheme has no such tensor (2.1, 2-AC).
    """
    token = re.fullmatch(r"mask_tokens\.(\d+)", key)
    if part == "predictor" and token:
        return (Piece("predictor.embeddings.mask_tokens", int(token[1])),)
    for meta, hf in _PREFIXES.get(part, ()):
        if key.startswith(meta):
            return tuple(Piece(name) for name in _inside(part, hf + key[len(meta) :]))
    return ()


def _inside(part: str, key: str) -> tuple[str, ...]:
    """Names within a block."""
    if part == "probe":
        key = re.sub(r"\.norm([12])\.", r".layer_norm\1.", key)
        key = key.replace(".attn.proj.", ".self_attn.out_proj.")
        key = key.replace(".xattn.q.", ".cross_attn.q_proj.")
        return _split(_split((key,), ".attn.qkv.", ".self_attn.", _PROJECTIONS),
                      ".xattn.kv.", ".cross_attn.", _PROJECTIONS[1:])  # fmt: skip
    key = key.replace(".attn.proj.", ".attention.proj.")
    return _split((key,), ".attn.qkv.", ".attention.", _QKV)


def _split(keys: tuple[str, ...], fused: str, into: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """A fused projection's name to the names of its parts."""
    out: list[str] = []
    for key in keys:
        out += [key.replace(fused, f"{into}{n}.") for n in names] if fused in key else [key]
    return tuple(out)
