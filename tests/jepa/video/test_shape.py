"""The published sizes, and shapes that go through JSON or are refused."""

import dataclasses
import json

import pytest
import torch

from jepad.errors import ModelError, SettingError
from jepad.jepa.video.action import ActionPredictor
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.predictor import MaskPredictor
from jepad.jepa.video.shape import PRESETS, EncoderShape, ProbeShape, from_json, to_json
from jepad.vision.grid import Grid

SHAPES = [
    shape
    for preset in PRESETS.values()
    for shape in (preset.encoder, preset.predictor, preset.action)
    if shape is not None
] + [ProbeShape(width=1024, heads=16, depth=4, classes=174, hidden=4096)]
SMALL = {"width": 48, "depth": 2, "heads": 2, "hidden": 96, "layout": "tiled"}


def millions(model):
    return sum(p.numel() for p in model.parameters()) / 1e6


@pytest.mark.parametrize(
    ("name", "encoder", "predictor"),
    [
        ("vitl-256", 303.9, 22.1),
        ("vith-256", 631.6, None),
        ("vitg-384", 1012.2, None),
        ("vitb-384-2.1", 86.8, 22.9),
        ("vitG-384-2.1", 1845.2, None),
    ],
)
def test_published_models_have_their_number_of_parameters(name, encoder, predictor):
    preset = PRESETS[name]
    with torch.device("meta"):
        assert millions(VideoEncoder(preset.encoder)) == pytest.approx(encoder, abs=0.06)
        if predictor:
            assert millions(MaskPredictor(preset.predictor)) == pytest.approx(predictor, abs=0.06)


def test_the_action_predictor_is_of_the_published_size():
    with torch.device("meta"):
        assert millions(ActionPredictor(PRESETS["vitg-256-ac"].action)) == pytest.approx(305, abs=1)


def test_every_preset_says_its_layout():
    for name, preset in PRESETS.items():
        later = name.endswith("-2.1")
        assert preset.encoder.layout == ("interleaved" if later else "tiled")
        assert preset.encoder.rescale is later
        assert (preset.encoder.size == 384) is ("384" in name)
    assert PRESETS["vitl-256"].encoder.grid == Grid(32, 16, 16)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{type(s).__name__}-{s.width}")
def test_shapes_go_through_json(shape):
    assert from_json(json.loads(json.dumps(to_json(shape)))) == shape


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "decoder"},
        {"kind": None},
        {"width": "96"},
        {"width": 97},
        {"heads": 0},
        {"layout": "halves"},
        {"colour": 1},
        {"levels": [0]},
        {"version": "3.0"},
    ],
)
def test_a_wrong_shape_in_a_manifest_is_a_model_error(change):
    data = to_json(EncoderShape(**SMALL))
    with pytest.raises(ModelError):
        from_json(data | change)


def test_a_manifest_without_the_layout_is_refused():
    data = to_json(EncoderShape(**SMALL))
    del data["layout"]
    with pytest.raises(ModelError, match="layout"):
        from_json(data)
    with pytest.raises(ModelError):
        from_json(["encoder"])


@pytest.mark.parametrize("levels", [(), (1, 0), (0,), (0, 0, 1), (-1, 1)])
def test_levels_of_2_1_are_ascending_blocks_up_to_the_last(levels):
    with pytest.raises(SettingError):
        EncoderShape(**SMALL, version="2.1", levels=levels)


def test_a_clip_that_does_not_divide_is_refused():
    shape = EncoderShape(**SMALL)
    assert shape.grid_of(130, 48, 80) == Grid(65, 3, 5)
    for clip in [(3, 32, 32), (2, 33, 32), (2, 32, 40), (0, 32, 32), (2, 0, 32), (1, 32, 32)]:
        with pytest.raises(SettingError):
            shape.grid_of(*clip)
    images = dataclasses.replace(shape, image=True)
    assert images.grid_of(1, 32, 48) == Grid(1, 2, 3)
