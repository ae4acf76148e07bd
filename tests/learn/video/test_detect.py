"""Which published model a checkpoint is, from its tensors alone."""

import json
import os

import pytest

from jepad.errors import ModelError
from jepad.jepa.video.shape import PRESETS
from jepad.learn.video import detect as module
from jepad.learn.video import fakes, keys, parts
from jepad.learn.video.detect import detect


class Sizes:
    """A checkpoint of which only the sizes exist."""

    scheme, key = "meta", "encoder"

    def __init__(self, preset, path):
        self.path, self.files = path, (path,)
        self.table = {part: parts.expected(shape)
                      for part, shape in fakes.shapes(preset, tiny=False).items()}  # fmt: skip

    def parts(self):
        return tuple(self.table)

    def has(self, part, key):
        return key in self.table.get(part, {})

    def shape(self, part, key):
        return self.table[part][key]

    def unread(self, used):
        return [k for part, state in self.table.items() for k in set(state) - set(used[part])]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_published_model_is_recognised(preset, tmp_path):
    name = {"vitg-256": "vitg.pt", "vitg-384": "vitg-384.pt"}.get(preset, "some.pt")
    found = detect(Sizes(preset, str(tmp_path / name)))
    assert found.name == preset
    assert found.shapes["encoder"] == PRESETS[preset].encoder
    assert found.version == ("2-ac" if preset.endswith("ac") else PRESETS[preset].encoder.version)
    assert bool(found.notes) == (preset == "vitg-256")


def test_what_was_assumed_is_told(tmp_path):
    found = detect(Sizes("vitg-384", str(tmp_path / "some.pt")))
    assert found.name == "vitg-256"
    assert "vitg-384" in found.notes[0]
    assert detect(Sizes("vitg-384", str(tmp_path / "some.pt")), "vitg-384").name == "vitg-384"


@pytest.mark.parametrize(
    ("config", "name", "frames"),
    [
        ({"crop_size": 384, "frames_per_clip": 64}, "vitg-384", 64),
        ({"crop_size": 256, "frames_per_clip": 16}, "vitg-256", 16),
        ({"crop_size": 384, "frames_per_clip": "many"}, "vitg-384", 64),
        ({}, "vitg-256", 64),
    ],
)
def test_a_config_tells_resolution_and_length(tmp_path, monkeypatch, config, name, frames):
    monkeypatch.setattr(module, "config_beside", lambda _: config)
    found = detect(Sizes("vitg-256", str(tmp_path / "model.safetensors")))
    assert (found.name, found.shapes["encoder"].frames) == (name, frames)
    assert found.shapes["predictor"] == PRESETS[name].predictor


def test_a_published_probe_has_sixteen_heads_whatever_the_config_says(checkpoints, monkeypatch):
    from jepad.learn.video.checkpoint import open_checkpoint

    path = checkpoints("vitl-256/hf-classifier")
    assert detect(open_checkpoint(path)).shapes["probe"].heads == 2
    wide = {"some": PRESETS["vitl-256"].__class__(fakes.shapes("vitl-256", True)["encoder"])}
    monkeypatch.setattr(module, "PRESETS", wide)
    assert module._probe(open_checkpoint(path)).heads == 16
    assert module._probe(open_checkpoint(path)).eps == 1e-5


@pytest.mark.parametrize(
    "about",
    ['{"shapes": []}', '{"shapes": {"encoder": {}}}', "[]", "{", '{"shapes": {"encoder": 3}}'],
)
def test_a_broken_description_is_named(checkpoints, tmp_path, about):
    from jepad.learn.video.checkpoint import open_checkpoint

    path = str(tmp_path / "vitl.pt")
    os.link(checkpoints("vitl-256/meta"), path)
    with open(path + ".json", "w") as f:
        f.write(about)
    with pytest.raises(ModelError):
        detect(open_checkpoint(path))


def test_a_description_of_another_size_is_refused(checkpoints, tmp_path):
    from jepad.learn.video.checkpoint import open_checkpoint

    path = str(tmp_path / "vitl.pt")
    os.link(checkpoints("vitl-256/meta"), path)
    with open(checkpoints("vitl-256/meta") + ".json") as f:
        about = json.load(f)
    about["shapes"]["encoder"]["hidden"] = 128
    with open(path + ".json", "w") as f:
        json.dump(about, f)
    with pytest.raises(ModelError, match="the model wants 128"):
        detect(open_checkpoint(path))


def test_every_part_has_its_named_exceptions():
    assert set(keys.UNUSED) == {"encoder", "predictor", "action", "probe"}
    assert set().union(*keys.UNUSED.values()) == {"pos_embed", "predictor_pos_embed"}
