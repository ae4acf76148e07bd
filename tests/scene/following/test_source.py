"""Frames one after the other, while writers come and go."""

import numpy as np
import pytest

from jepad.errors import Lapped, NotFound, SettingError
from jepad.ring.layout import Layout
from jepad.ring.writer import Writer
from jepad.scene.following.source import FPS, SUCCESSOR_S, Source, steps_in
from tests.scene.following.camera import Camera

OUT = np.empty((64, 64, 3), np.uint8)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def camera(prefix):
    made = Camera(prefix, slots=8)
    yield made
    made.retire()


def numbers(source):
    found = []
    while (frame := source.next(OUT, 0)) is not None:
        found.append(frame.n)
    return found


def test_it_begins_with_the_newest(prefix, camera):
    for i in range(3):
        camera.publish(i / 3)
    source = Source(prefix, camera.stream)
    assert source.waiting == 1
    frame = source.next(OUT, 0)
    assert (frame.n, frame.t_ns) == (2, camera.times[2])
    np.testing.assert_array_equal(OUT, camera.frames[2])
    camera.publish(1)
    camera.publish(1)
    assert numbers(source) == [3, 4]
    assert source.state() == "live"


def test_an_empty_stream_begins_with_the_first(prefix, camera):
    source = Source(prefix, camera.stream)
    assert numbers(source) == []
    camera.publish()
    assert numbers(source) == [0]


def test_a_lapped_reader_goes_on_with_what_is_kept(prefix, camera):
    source = Source(prefix, camera.stream)
    for i in range(20):
        camera.publish(i / 20)
    with pytest.raises(Lapped):
        source.next(OUT, 0)
    assert numbers(source) == [14, 15, 16, 17, 18, 19]


def test_frames_too_old_to_be_kept_are_waited_past(prefix, camera):
    camera.publish(0)
    source = Source(prefix, camera.stream)
    camera.publish(0)
    camera.writer.forget(1 << 62)
    lapped = 0
    for _ in range(5):
        try:
            assert source.next(OUT, 0) is None
        except Lapped:
            lapped += 1
    assert lapped == 2
    camera.publish(0)
    assert numbers(source) == [2]


def test_a_retired_stream_ends_after_its_last_frame_and_a_moment(prefix, camera):
    clock = Clock()
    source = Source(prefix, camera.stream, clock)
    camera.publish(0)
    camera.retire()
    assert source.state() == "live"
    assert numbers(source) == [0]
    assert source.state() == "waiting"
    clock.now = SUCCESSOR_S + 1
    assert source.state() == "ended"


def test_a_successor_is_read_from_its_first_frame(prefix, camera):
    source = Source(prefix, camera.stream)
    camera.publish(0)
    numbers(source)
    camera.retire()
    wide = Camera(prefix, shape=(32, 48, 3))
    try:
        assert source.state() == "renewed"
        source.renew()
        assert source.shape == (32, 48, 3)
        assert source.state() == "live"
        wide.writer.publish(np.zeros((32, 48, 3), np.uint8), 1)
        assert source.next(np.empty((32, 48, 3), np.uint8), 0).n == 0
    finally:
        wide.retire()


def test_a_successor_that_holds_no_pictures_is_refused(prefix, camera):
    source = Source(prefix, camera.stream)
    camera.retire()
    with Writer.create(prefix, Layout(camera.stream, np.float64, (4,), {}, 4)):
        assert source.state() == "renewed"
        with pytest.raises(SettingError, match=r"frames\.door.*float64"):
            source.renew()


def test_a_writer_that_stopped_may_come_back(prefix, camera):
    source = Source(prefix, camera.stream)
    camera.publish(0)
    camera.writer.close()
    assert numbers(source) == [0]
    assert source.state() == "waiting"
    again = Camera(prefix, slots=8)
    try:
        assert source.state() == "live"
        again.publish(0.5)
        assert numbers(source) == [1]
    finally:
        again.retire()


def test_no_stream_no_source(prefix):
    with pytest.raises(NotFound):
        Source(prefix, "frames.nobody")


@pytest.mark.parametrize("told", [None, 0, -1, 1e9, "fast", [4], float])
def test_frames_a_second_are_measured_where_nobody_says_them(prefix, told):
    schema = {} if told in (None, float) else {"fps": told}
    layout = Layout("frames.odd", np.uint8, (8, 8, 3), schema, 16)
    with Writer.create(prefix, layout) as writer:
        source = Source(prefix, "frames.odd")
        assert source.fps == FPS
        for i in range(5):
            writer.publish(np.zeros((8, 8, 3), np.uint8), 1 + i * 100_000_000)
        assert source.fps == pytest.approx(10)


def test_frames_a_second_as_the_stream_says_them(prefix):
    for name in ("fps", "rate"):
        layout = Layout(f"frames.{name}", np.uint8, (8, 8, 3), {name: 7.5}, 16)
        with Writer.create(prefix, layout):
            assert Source(prefix, f"frames.{name}").fps == 7.5


@pytest.mark.parametrize(
    ("seconds", "fps", "unit", "steps"),
    [(1, 4, 2, 2), (10, 4, 2, 20), (1, 0.1, 2, 1), (1, 7.5, 2, 4), (3, 1 / 3, 1, 1)],
)
def test_steps_in_time(seconds, fps, unit, steps):
    assert steps_in(seconds, fps, unit) == steps
