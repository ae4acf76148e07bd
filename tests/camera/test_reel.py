"""What is left out when behind, and the times of what is not."""

import threading
import time

import av
import numpy as np
import pytest

from jepad.camera import reel as room
from jepad.camera import source
from jepad.camera.container import Container
from jepad.camera.reel import Reel
from jepad.camera.settings import CameraSettings
from jepad.camera.view import View
from jepad.errors import RingError
from jepad.records import GAP


class Eye:
    """Keeps what it is shown; or fails."""

    def __init__(self, error=None):
        self.shown, self.error = [], error

    def see(self, frame, t_ns, t_s, tell):
        if self.error is not None:
            raise self.error
        self.shown.append((t_ns, t_s, tell))


@pytest.fixture
def play(film, tmp_path):
    """play(eye, film, **settings): (view, container) after a film was played."""
    files = []

    def run(eye, path="", **settings):
        wanted = CameraSettings(source="file:x", **settings)
        given = source.source(f"file:{path or film()}")
        files.append(file := source.opened(given.url))
        view = View()
        container = Container(given, file)
        try:
            Reel(given, wanted, eye, view).play(container, threading.Event())
        finally:
            container.close()
        return view

    yield run
    for file in files:
        room_close(file)


def room_close(file):
    import os

    os.close(file)


@pytest.fixture
def with_b_frames(tmp_path):
    """A film of which every third frame can be left out."""
    path = str(tmp_path / "b.mp4")
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=8, options={"bf": "2"})
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        for n in range(60):
            pixels = np.full((64, 64, 3), 4 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return path


def behind_by(monkeypatch, seconds):
    monkeypatch.setattr(room.Origin, "behind", lambda *_: seconds)


def test_behind_frames_are_left_out_and_what_is_not_needed_is_not_decoded(
    play, with_b_frames, monkeypatch
):
    behind_by(monkeypatch, 2.0)
    eye = Eye()
    view = play(eye, with_b_frames, fps=8)
    counts = view.counts
    assert counts["packets"] == 60
    assert counts["decoded"] < 45  # the others are made from no further
    assert counts["late"] > 0
    assert counts["published"] == len(eye.shown) >= 1
    assert counts["decoded"] == counts["published"] + counts["dropped"]
    assert view.behind_s == 2.0


def test_in_time_everything_is_decoded(play, with_b_frames, monkeypatch):
    behind_by(monkeypatch, 0.0)
    eye = Eye()
    counts = play(eye, with_b_frames, fps=8).counts
    assert counts["packets"] == counts["decoded"] == counts["published"] == 60
    assert [tell[0] for _, _, tell in eye.shown] == list(range(60))
    assert {tell[2] for _, _, tell in eye.shown} == {0}


def test_after_a_frame_left_out_the_next_says_so(play, film, monkeypatch):
    lags = iter([0.0, 0.0, 5.0, 0.0, 0.0] + [0.0] * 99)
    monkeypatch.setattr(room.Origin, "behind", lambda *_: next(lags))
    eye = Eye()
    counts = play(eye, fps=8).counts
    assert counts["late"] == 1
    assert [tell[2] for _, _, tell in eye.shown][:4] == [0, 0, GAP, 0]
    assert [tell[:2] for _, _, tell in eye.shown][:4] == [(0, 0), (1, 0), (3, 1), (4, 1)]


def test_the_time_of_capture_is_when_the_frame_was_due(play, monkeypatch):
    behind_by(monkeypatch, 0.25)
    eye = Eye()
    before = time.monotonic_ns()
    play(eye, fps=8)
    after = time.monotonic_ns()
    assert all(before - 250_000_001 <= t_ns <= after - 250_000_000 for t_ns, _, _ in eye.shown)
    assert [round(t_s, 3) for _, t_s, _ in eye.shown][:3] == [0, 0.125, 0.25]


def test_a_frame_that_cannot_be_cut_is_unfit_and_the_next_is_tried(play):
    view = play(Eye(ValueError("odd")), fast=True, fps=8)
    assert view.counts["unfit"] == view.counts["decoded"] == 24
    assert "odd" in view.reason


def test_no_room_breaks_off(play):
    with pytest.raises(room.Lost, match="full"):
        play(Eye(RingError("/dev/shm is full")), fast=True)


def test_stopped_means_at_once(film):
    given, stop = source.source(f"file:{film()}"), threading.Event()
    stop.set()
    file = source.opened(given.url)
    container = Container(given, file)
    view, eye = View(), Eye()
    assert Reel(given, CameraSettings(source="x"), eye, view).play(container, stop) == ""
    container.close()
    room_close(file)
    assert view.counts["packets"] <= 1
