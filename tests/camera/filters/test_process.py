"""Filters in a real camera process, behind its closed doors: what readers get."""

import pytest

from jepad.errors import Lapped
from jepad.ring.stream import Stream
from tests.camera.conftest import PATIENCE_S, until
from tests.camera.filters import glowing

#: A white block of 8 × 8 pixels on black, in the middle of a frame of 64: a face to the model.
GLOW = "lavfi:color=black:size=64x64:rate=8,drawbox=x=24:y=24:w=16:h=16:color=white:t=fill"


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "faces.onnx"
    return {"faces_model": str(path), "faces_sha256": glowing.write(path)}


def frame(prefix):
    with Stream(prefix, "frames.one") as stream:
        return stream.read(after=stream.head, timeout=PATIENCE_S).array


def published(seen):
    return seen.counts["published"] >= 1


def test_a_face_is_hidden_by_a_model_loaded_before_the_doors_closed(process, prefix, model):
    one = process(source=GLOW, fps=8, fast=False, filters=["faces"], **model)
    said = one.seen("running", wanted=published)
    assert said.filters == ("faces",)
    assert said.filter_state == ""
    got = frame(prefix)
    assert 0 < (got == 0).mean() < 1
    white = (got > 250).all(2).sum()
    assert white < 16 * 16  # of the block some is left, mixed with what is around it


@pytest.mark.parametrize("spoilt", ["missing", "other"])
def test_without_its_model_every_frame_is_closed_and_says_so(process, prefix, model, spoilt):
    wrong = {"faces_model": "/nonexistent"} if spoilt == "missing" else {"faces_sha256": "0" * 64}
    one = process(source=GLOW, fps=8, fast=False, filters=["faces"], **(model | wrong))
    said = one.seen("running", wanted=published)
    assert said.filters == ()
    assert said.filter_state.startswith("faces: ")
    square = frame(prefix)
    blocks = square.reshape(8, 8, 8, 8, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()


def test_what_is_older_than_the_retention_is_forgotten_long_before_its_slot_is_needed(
    process, prefix
):
    one = process(source=GLOW, fps=8, fast=False, retention_min=0.01)
    one.seen("running", wanted=published)
    with Stream(prefix, "motion.one") as stream:

        def lapped():
            try:
                stream.read(0)
            except Lapped:
                return True
            return False

        until(lapped)
        assert stream.head < stream.header.slots
