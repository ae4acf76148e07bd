"""Frames of any size become the patches of a model, by the preprocessing that is its own."""

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.scene.eye import Eye
from jepad.scene.model import Model
from jepad.vision import preprocess
from jepad.vision.patches import unfold


def test_a_clip(model, clip):
    known = Model(model().manifest)
    size, frames = known.encoder.size, clip(4)
    seen = Eye(known).look(frames)
    wanted = unfold(preprocess.evaluate(frames, size), known.encoder.tubelet, known.encoder.patch)
    np.testing.assert_array_equal(seen.patches, wanted[None])
    assert seen.steps == seen.grid.steps == 4 // known.encoder.tubelet


def test_frames_of_its_own_size_are_taken_as_they_are(model, clip):
    known = Model(model().manifest)
    size = known.encoder.size
    frames = preprocess.cropped(clip(2), size)
    seen = Eye(known).look(frames)
    np.testing.assert_array_equal(seen.patches, Eye(known).look(clip(2)).patches)
    assert seen.patches.dtype == np.float32


def test_2ac_sees_each_frame_alone(model, clip):
    known = Model(model("vitg-256-ac").manifest)
    shape, frames = known.encoder, clip(3)
    seen = Eye(known).look(frames)
    assert (len(seen.patches), seen.steps, seen.grid) == (3, 3, known.frame)
    one = preprocess.centred(frames[1:2], shape.size)
    twice = unfold(np.repeat(one, shape.tubelet, 0), shape.tubelet, shape.patch)
    np.testing.assert_array_equal(seen.patches[1], twice)


def test_one_frame_is_a_picture_to_a_model_that_knows_pictures(model, clip):
    known = Model(model("vitg-384-2.1").manifest)
    shape = known.encoder
    seen = Eye(known).look(clip(1))
    wanted = unfold(preprocess.evaluate(clip(1), shape.size), 1, shape.patch)
    np.testing.assert_array_equal(seen.patches, wanted[None])
    assert (seen.steps, seen.grid, wanted.shape[1]) == (1, known.frame, shape.image_inputs)


@pytest.mark.parametrize(("preset", "count"), [("vitl-256", 1), ("vitl-256", 3),
    ("vitg-384-2.1", 3)])  # fmt: skip
def test_frames_that_are_no_clip(model, clip, preset, count):
    with pytest.raises(SettingError):
        Eye(Model(model(preset).manifest)).look(clip(count))
