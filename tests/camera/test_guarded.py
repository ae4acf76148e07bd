"""Failing closed."""

import numpy as np
import pytest

from jepad.camera import guarded
from jepad.camera.filters import chain
from jepad.camera.filters.picture import closed
from jepad.camera.guarded import Guarded
from jepad.camera.settings import CameraSettings
from jepad.camera.shot import Shot

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def shot():
    return Shot(PIXELS.copy(), 1, 0.0, lambda side: np.zeros((side, side, 3), np.uint8))


class Fake:
    """A filter that gives what it is told to."""

    names, state = ("fake",), ""

    def __init__(self, result):
        self.result = result

    def __call__(self, shot):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def build(monkeypatch, result):
    made = Fake(result)
    monkeypatch.setattr(chain, "build", lambda _settings: made)
    return Guarded(CameraSettings(source="a")), made


def test_what_the_chain_gives_is_shown(monkeypatch):
    given = np.zeros_like(PIXELS)
    filters, _ = build(monkeypatch, given)
    assert filters(shot()) is given
    assert (filters.names, filters.state) == (("fake",), "")


@pytest.mark.parametrize(
    "result",
    [ValueError("no"), MemoryError(), None, PIXELS[:3], PIXELS.astype(np.float32)],
    ids=["error", "memory", "none", "shape", "type"],
)
def test_else_all_is_pixelated_and_said(monkeypatch, result):
    filters, made = build(monkeypatch, result)
    np.testing.assert_array_equal(filters(shot()), closed(PIXELS))
    assert "a filter failed" in filters.state
    made.result = PIXELS
    assert filters(shot()) is PIXELS
    assert filters.state == ""


def test_without_the_chain_all_is_pixelated(monkeypatch):
    def fails(_settings):
        raise OSError("gone")

    monkeypatch.setattr(chain, "build", fails)
    filters = Guarded(CameraSettings(source="a"))
    np.testing.assert_array_equal(filters(shot()), closed(PIXELS))
    assert "can't be loaded" in filters.state
    assert filters.names == ("pixelate",)


def test_a_face_model_that_is_missing_closes():
    settings = CameraSettings(source="a", filters=("faces",), faces_model="/no/such.onnx")
    filters = Guarded(settings)
    assert len(np.unique(filters(shot()).reshape(-1, 3), axis=0)) <= 64
    assert filters.state


def test_what_is_logged_once_is_not_logged_each_frame(monkeypatch, caplog):
    filters, _ = build(monkeypatch, ValueError("no"))
    for _ in range(5):
        filters(shot())
    assert len([r for r in caplog.records if r.name == guarded.__name__]) == 1
