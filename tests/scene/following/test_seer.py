"""What a clip is to a model, and which predictions can be held against what was seen."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from jepad.errors import EngineError, SettingError
from jepad.jepa.target import normed
from jepad.jepa.video.shape import to_json
from jepad.scene import onnx
from jepad.scene.eye import Eye
from jepad.scene.following.seer import Seer
from jepad.scene.model import Model
from tests.scene import small

FRAMES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)


def seer(version):
    backend = onnx.load(small.installed(version), "fp32")
    model = Model(backend.manifest)
    return Seer(model, lambda run: run(backend)), backend, model


@pytest.mark.parametrize(("version", "levels"), [("2.0", 1), ("2.1", 2)])
def test_tokens_are_normed_as_targets_are_in_training(version, levels):
    eye, backend, model = seer(version)
    look = eye.look(FRAMES, 3)
    seen = Eye(model).look(FRAMES)
    made = backend.encode(seen.patches, model.whole(seen.grid), levels > 1)
    np.testing.assert_allclose(look.pooled, made.tokens[0].mean(0), atol=1e-5)
    context = made.tokens if levels == 1 else made.levels
    exact = normed(torch.from_numpy(context), levels).numpy().reshape(2, 16, -1)
    np.testing.assert_allclose(look.seen, exact, atol=1e-5)
    expected = backend.predict(context, model.ahead(seen.grid, 3), 0)
    np.testing.assert_allclose(look.ahead, expected.reshape(3, 16, -1), atol=1e-5)
    assert look.ahead.shape[2] == look.seen.shape[2]
    assert eye.why == ""
    assert eye.look(FRAMES, 0).ahead is None


def test_a_frame_alone():
    eye, backend, model = seer("2-ac")
    assert (eye.unit, eye.window(0), eye.window(64)) == (1, 1, 1)
    look = eye.look(FRAMES[:1], 0)
    seen = Eye(model).look(FRAMES[:1])
    exact = normed(torch.from_numpy(backend.encode(seen.patches, model.whole(seen.grid)).tokens))
    np.testing.assert_allclose(look.pooled, exact[0].numpy().mean(0), atol=1e-5)
    assert "actions" in eye.why


def test_windows_divide_into_steps():
    eye, _, _ = seer("2.0")
    assert (eye.unit, eye.window(0), eye.window(8)) == (2, 4, 8)
    with pytest.raises(SettingError, match="multiples of"):
        eye.window(7)


def test_a_predictor_of_anothers_tokens_is_no_measure():
    manifest = small.installed("2.1").manifest
    shapes = {
        "encoder": manifest.shapes["encoder"],
        "predictor": to_json(replace(small.LATER_PREDICTOR, output=1664)),
    }
    distilled = Model(replace(manifest, shapes=shapes))
    assert "another model's tokens (1664 numbers each, its own have 96)" in Seer(distilled, id).why
    alone = Model(replace(manifest, shapes={"encoder": manifest.shapes["encoder"]}))
    assert Seer(alone, id).why == "the model has no predictor"


def test_no_number_that_is_none_leaves():
    _, _, model = seer("2.0")
    broken = SimpleNamespace(tokens=np.full((1, 32, 48), np.nan, np.float32), levels=None)
    with pytest.raises(EngineError, match="not finite"):
        Seer(model, lambda run: broken).look(FRAMES, 0)
