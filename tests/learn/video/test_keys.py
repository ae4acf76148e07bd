"""Meta's names to Hugging Face's: checked against the real state dict of transformers."""

import pytest

from jepad.learn.video import keys


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("module.backbone.blocks.3.attn.qkv.weight", "blocks.3.attn.qkv.weight"),
        ("module.predictor_embed.bias", "predictor_embed.bias"),
        ("backbone.norm.weight", "norm.weight"),
        ("norm.weight", "norm.weight"),
        ("module.module.backbone.norm.weight", "norm.weight"),
        ("modules.norm.weight", "modules.norm.weight"),
    ],
)
def test_wrappers_of_training_are_taken_off(written, meant):
    assert keys.plain(written) == meant


@pytest.mark.parametrize(
    ("part", "meta", "hf"),
    [
        ("encoder", "patch_embed.proj.weight", ["encoder.embeddings.patch_embeddings.proj.weight"]),
        ("encoder", "blocks.7.attn.qkv.bias",
         [f"encoder.layer.7.attention.{n}.bias" for n in ("query", "key", "value")]),
        ("encoder", "blocks.7.attn.proj.bias", ["encoder.layer.7.attention.proj.bias"]),
        ("encoder", "norm.bias", ["encoder.layernorm.bias"]),
        ("predictor", "predictor_embed.weight",
         ["predictor.embeddings.predictor_embeddings.weight"]),
        ("predictor", "predictor_blocks.11.mlp.fc2.bias", ["predictor.layer.11.mlp.fc2.bias"]),
        ("predictor", "predictor_proj.bias", ["predictor.proj.bias"]),
        ("probe", "pooler.blocks.2.norm1.weight",
         ["pooler.self_attention_layers.2.layer_norm1.weight"]),
        ("probe", "pooler.blocks.2.attn.qkv.weight",
         [f"pooler.self_attention_layers.2.self_attn.{n}_proj.weight" for n in "qkv"]),
        ("probe", "pooler.blocks.2.attn.proj.weight",
         ["pooler.self_attention_layers.2.self_attn.out_proj.weight"]),
        ("probe", "pooler.cross_attention_block.xattn.q.weight",
         ["pooler.cross_attention_layer.cross_attn.q_proj.weight"]),
        ("probe", "pooler.cross_attention_block.xattn.kv.bias",
         [f"pooler.cross_attention_layer.cross_attn.{n}_proj.bias" for n in "kv"]),
        ("probe", "linear.weight", ["classifier.weight"]),
        ("encoder", "norms_block.3.weight", []),
        ("action", "state_encoder.weight", []),
    ],
)  # fmt: skip
def test_names_under_the_other_scheme(part, meta, hf):
    assert [piece.key for piece in keys.pieces(part, meta)] == hf


def test_mask_tokens_are_rows_of_one_tensor():
    assert keys.pieces("predictor", "mask_tokens.4") == (
        keys.Piece("predictor.embeddings.mask_tokens", 4),
    )


def test_every_key_of_the_peer_has_exactly_one_place():
    """The real classifier of transformers: all its names, nothing else."""
    import torch
    from transformers import VJEPA2Config, VJEPA2ForVideoClassification

    config = VJEPA2Config(
        hidden_size=32, num_attention_heads=2, num_hidden_layers=2, pred_hidden_size=24,
        pred_num_attention_heads=2, pred_num_hidden_layers=2, pred_num_mask_tokens=3,
        num_pooler_layers=3, num_labels=4, crop_size=32, frames_per_clip=4,
    )  # fmt: skip
    with torch.device("meta"):
        names = set(VJEPA2ForVideoClassification(config).state_dict())
    block = [f"{n}.{k}" for n in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
             for k in ("weight", "bias")]  # fmt: skip
    cross = [b.replace("attn.qkv", "xattn.q").replace("attn.proj", "xattn.kv") for b in block]
    ends = [f"{n}.{k}" for n in ("norm", "patch_embed.proj") for k in ("weight", "bias")]
    meta = {
        "encoder": ends + [f"blocks.{i}.{b}" for i in range(2) for b in block],
        "predictor": [f"predictor_{n}.{k}" for n in ("embed", "norm", "proj") for k in
                      ("weight", "bias")] + [f"mask_tokens.{i}" for i in range(3)]
        + [f"predictor_blocks.{i}.{b}" for i in range(2) for b in block],
        "probe": ["pooler.query_tokens", "linear.weight", "linear.bias"]
        + [f"pooler.blocks.{i}.{b}" for i in range(3) for b in block]
        + [f"pooler.cross_attention_block.{b}" for b in cross],
    }  # fmt: skip
    found = [
        (piece.key, piece.row)
        for part, all_ in meta.items()
        for key in all_
        for piece in keys.pieces(part, key)
    ]
    assert len(found) == len(set(found))
    assert {key for key, _ in found} == {keys.base(name) for name in names}
