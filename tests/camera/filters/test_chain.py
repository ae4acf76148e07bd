"""Filters in order; whatever goes wrong, nothing is shared as it was."""

import subprocess
import sys

import pytest

from jepad.camera.filters import chain
from jepad.camera.filters.chain import Chain, build
from jepad.camera.filters.picture import FILL, closed
from tests.camera.filters import glowing
from tests.camera.filters.shots import noise, settings, shot

ZONE = ((0.0, 0.0), (0.5, 0.5))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "faces.onnx"
    digest = glowing.write(path)
    return {"faces_model": str(path), "faces_sha256": digest}


class Part:
    def __init__(self, name, work):
        self.name = name
        self._work = work

    def __call__(self, _shot, pixels):
        return self._work(pixels)


def fails(_pixels):
    raise ZeroDivisionError("oops")


def test_no_filter_shares_the_frame_as_it_is():
    filters = build(settings())
    picture = noise()
    assert (filters(shot(picture)) == noise()).all()
    assert (filters.names, filters.state) == ((), "")


def test_filters_come_in_the_order_that_was_asked_for():
    filters = build(settings(filters=("pixelate", "zones"), zones=(ZONE,), pixelate_block=32))
    assert filters.names == ("pixelate 32", "zones (1)")
    got = filters(shot(noise()))
    assert (got[:32, :32] == FILL).all()
    assert (got[34:, 34:] == got[-1, -1]).all()


def test_zones_that_are_given_are_drawn_without_being_named():
    filters = build(settings(zones=(ZONE,)))
    assert (filters(shot(noise()))[:32, :32] == FILL).all()


def test_a_face_is_hidden(model):
    filters = build(settings(filters=("faces",), **model))
    picture = noise() // 2
    picture[16:24, 32:40] = 255
    got = filters(shot(picture.copy()))
    assert (filters.names, filters.state) == (("faces",), "")
    changed = (got != picture).any(2)
    assert changed[13:27, 29:43].mean() > 0.8  # a white block stays white
    changed[13:27, 29:43] = False
    assert not changed.any()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"filters": ("faces",)}, "no SHA-256"),
        ({"filters": ("faces",), "faces_model": "/none", "faces_sha256": "0" * 64}, "/none"),
        ({"filters": ("faces",), "faces_sha256": "1" * 64}, "SHA-256"),
        ({"filters": ("zones",)}, "no zone is given"),
        ({"zones": (((0.5, 0.1), (0.5, 0.9)),)}, "covers nothing"),
    ],
)
def test_a_filter_that_can_not_be_made_closes_every_frame(model, fields, why):
    if why == "SHA-256":
        fields = {**fields, "faces_model": model["faces_model"]}
    filters = build(settings(**fields))
    assert why in filters.state
    for seed in range(2):
        assert (filters(shot(noise(seed=seed))) == closed(noise(seed=seed))).all()
        assert why in filters.state


def test_the_filters_that_can_be_made_work_in_a_closed_frame():
    filters = build(settings(filters=("zones", "faces"), zones=(((0, 0), (1, 1)),)))
    assert filters.names == ("zones (1)",)
    assert (filters(shot(noise())) == FILL).all()


def test_a_filter_that_fails_closes_this_frame_and_not_the_next():
    steps = [lambda p: p, fails, lambda p: p]

    def shy(pixels):
        return steps.pop(0)(pixels)

    filters = Chain([Part("shy", shy)])
    shared = [(filters(shot(noise())), filters.state) for _ in range(3)]
    assert [state for _, state in shared] == ["", "shy: ZeroDivisionError: oops", ""]
    assert (shared[1][0] == closed(noise())).all()
    assert (shared[2][0] == noise()).all()


@pytest.mark.parametrize("bad", [lambda p: p[1:], lambda p: p.astype(float), lambda p: None])
def test_what_a_filter_makes_of_a_frame_must_be_one(bad):
    filters = Chain([Part("odd", bad)])
    assert (filters(shot(noise())) == closed(noise())).all()
    assert filters.state.startswith("odd: ")


def test_later_filters_still_run_when_an_earlier_fails():
    ran = []
    filters = Chain([Part("a", fails), Part("b", lambda p: ran.append(1) or p)])
    filters(shot(noise()))
    assert ran == [1]


def test_a_detector_that_fails_in_use_closes_the_frame(model):
    filters = build(settings(filters=("faces",), **model))

    def look(_side):
        raise MemoryError

    picture = noise()
    got = filters(shot(picture).__class__(picture, 1, 0.0, look))
    assert (got == closed(noise())).all()
    assert "MemoryError" in filters.state


def test_onnxruntime_is_loaded_for_faces_alone():
    code = (
        "import sys\n"
        "from jepad.camera.settings import CameraSettings\n"
        "from jepad.camera.filters.chain import build\n"
        "build(CameraSettings(source='lavfi:a', filters=('pixelate',)))\n"
        "print('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


def test_an_unknown_filter_is_never_ignored():
    with pytest.raises(Exception, match="no such filter"):
        chain._part("emboss", settings())
