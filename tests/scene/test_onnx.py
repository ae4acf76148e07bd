"""The backend on onnxruntime says what the torch modules say, from a manifest to the numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jepad.errors import ModelError, SettingError
from jepad.jepa.video.action import Given
from jepad.jepa.video.rollout import Moment, World, rollout
from jepad.learn.video import fakes, parts
from jepad.planning.bounds import DROID
from jepad.planning.pose import mover
from jepad.scene import onnx
from jepad.scene.model import Model
from jepad.scene.normal import normed
from jepad.vision.grid import Grid

from .made import install

CLOSE = 2e-5


def network(preset, part):
    shape = fakes.shapes(preset, tiny=True)[part]
    state = dict(fakes.tensors(shape, 3))
    return parts.filled(shape, state.__getitem__)


def random(*size, seed=0):
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


@pytest.mark.parametrize("preset", ["vitl-256", "vitg-384-2.1"])
def test_encoder_and_predictor(model, preset):
    installed = model(preset)
    backend, known = onnx.load(installed, "fp32"), Model(installed.manifest)
    shape = known.encoder
    grid = shape.grid_of(2 * shape.tubelet, shape.size, shape.size)
    video = random(2, 3, 2 * shape.tubelet, shape.size, shape.size)
    clip = torch.from_numpy(video)
    encoder = network(preset, "encoder")
    with torch.no_grad():
        patches = encoder.patches(clip)
        wanted = encoder.encode(clip)
        made = backend.encode(patches.numpy(), known.whole(grid), known.levelled)
        assert np.abs(made.tokens - wanted.numpy()).max() < CLOSE
        keep = np.array([0, 3, 5])
        few = backend.encode(patches.numpy()[:, keep], known.kept(grid, keep)).tokens
        index = torch.from_numpy(keep)[None].repeat(2, 1)
        assert np.abs(few - encoder.encode(clip, [index]).numpy()).max() < CLOSE
        context = made.levels if known.levelled else made.tokens
        ahead = backend.predict(context, known.ahead(grid, 1), 0)
        assert ahead.shape == (2, grid.frame, known.predicting().output)
        assert np.isfinite(ahead).all()


def test_actions_with_a_past_are_those_of_the_whole(model):
    """Step by step with kept keys and values = the causal predictor over all frames at once."""
    installed = model("vitg-256-ac")
    backend, known = onnx.load(installed, "fp32"), Model(installed.manifest)
    shape, frame = known.deciding(), known.frame
    start = normed(random(1, frame.tokens, shape.source))
    actions, state = random(3, 2, 7, seed=1) * 0.1, np.zeros((1, 7), np.float32)
    world = World(backend.act, mover(DROID, np, lambda v: np.asarray(v, np.float32)))
    moments = rollout(world, Moment(start, state), actions)
    predictor = network("vitg-256-ac", "action")
    tokens = np.concatenate([np.repeat(start, 3, 0), moments[1].tokens], 1)
    states = np.stack([moments[0].state, moments[1].state], 1)
    with torch.no_grad():
        given = Given(torch.from_numpy(actions), torch.from_numpy(states))
        whole = predictor(
            torch.from_numpy(tokens), given, Grid(1, frame.rows, frame.columns)
        ).numpy()
    last = normed(whole[:, frame.tokens :])
    assert np.abs(last - moments[2].tokens).max() < 1e-4
    one = rollout(world, Moment(start, state), actions[:1])[2]
    assert np.abs(one.tokens - moments[2].tokens[:1]).max() < CLOSE


def test_what_it_can_not_run_is_said(model):
    installed = model()
    with pytest.raises(SettingError, match="runs in fp32"):
        onnx.load(installed, "bf16")
    assert onnx.load(installed).precision == "fp32"
    assert not onnx.load(installed).free_bytes() < 0


def test_int8_is_close_and_taken_before_fp32(tmp_path):
    installed = install(tmp_path, "vitl-256", ("int8", "fp32"))
    rounded, exact = onnx.load(installed), onnx.load(installed, "fp32")
    assert rounded.precision == "int8"
    known = Model(installed.manifest)
    tables = known.whole(known.frame)
    patches = random(2, known.frame.tokens, known.encoder.inputs)
    a, b = (each.encode(patches, tables).tokens for each in (rounded, exact))
    assert not np.array_equal(a, b)
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    assert cosine.min() > 0.95


def test_layer_norm_is_torchs():
    x = random(3, 5, 8)
    wanted = torch.nn.functional.layer_norm(torch.from_numpy(x), (8,)).numpy()
    assert np.abs(normed(x) - wanted).max() < 1e-6


def test_a_manifest_without_a_model_is_refused(model):
    manifest = model().manifest
    wrong = dict(manifest.shapes) | {"encoder": manifest.shapes["predictor"]}
    with pytest.raises(ModelError, match="another kind"):
        Model(replace(manifest, shapes=wrong))
