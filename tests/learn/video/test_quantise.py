"""Rounding to int8 loses at most half a step a weight."""

import numpy as np

from jepad.learn.video.quantise import LIMIT, per_channel, quantised, restored


def test_half_a_step_at_most():
    weight = np.random.default_rng(0).standard_normal((7, 50)).astype(np.float32)
    weight[3] *= 1000  # a wild channel costs the others nothing
    found = per_channel(weight)
    assert found.values.dtype == np.int8
    assert np.abs(found.values).max(1).tolist() == [LIMIT] * 7
    assert (np.abs(restored(found) - weight) <= 0.5001 * found.scales[:, None]).all()


def test_a_channel_of_zeros_stays_zero():
    found = per_channel(np.zeros((2, 4), np.float32))
    assert (restored(found) == 0).all()
    assert (found.scales == 1).all()


def test_what_stays_float():
    assert quantised("blocks.0.attn.qkv", 12)
    assert quantised("blocks.11.mlp.fc1", 12)
    assert not quantised("blocks.11.mlp.fc2", 12)
    assert quantised("blocks.10.mlp.fc2", 12)
    for layer in ("patch_embed", "predictor_embed", "predictor_proj", "blocks.0.norm1", "linear"):
        assert not quantised(layer, 12)
