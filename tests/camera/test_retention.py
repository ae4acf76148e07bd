"""Nothing older than the limit can be read, also while the camera says nothing."""

import numpy as np
import pytest

from jepad.camera.retention import Retention, discard, fitting
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer

SECOND = 10**9
MINUTE = 60 * SECOND


@pytest.fixture
def frames():
    return Layout("frames.a", "u1", (4, 4, 3), {"what": "camera frames", "fps": 4.0}, 16)


def publish(writer, *seconds):
    for at in seconds:
        writer.publish(np.full((4, 4, 3), 200, np.uint8), at * SECOND)


def test_an_idle_camera_forgets_by_the_clock(prefix, frames):
    with Writer.create(prefix, frames) as w, Stream(prefix, "frames.a") as s:
        publish(w, 0, 30, 50)
        keep = Retention(1, lambda: [w])
        base = [0, 30, 50]
        for now, left in ((59, base), (61, base[1:]), (100, base[2:]), (111, [])):
            keep.sweep(now * SECOND)
            assert [t // SECOND for t in s.window(16)[1].tolist()] == left


def test_a_limit_of_part_of_a_minute(prefix, frames):
    with Writer.create(prefix, frames) as w:
        publish(w, 0)
        assert Retention(0.5, lambda: [w]).sweep(31 * SECOND) == 1


def test_all_writers_there_are_and_none_that_is_gone(prefix, frames):
    there = Writer.create(prefix, frames)
    gone = Writer.create(prefix, Layout("motion.a", "f4", (2,), {}, 4))
    gone.retire()
    publish(there, 0, 1)
    try:
        assert Retention(1, lambda: (None, gone, there)).sweep(10 * MINUTE) == 2
    finally:
        there.retire()


def test_before_the_machine_is_up_for_so_long_nothing_is_old(prefix, frames):
    with Writer.create(prefix, frames) as w:
        publish(w, 1)
        assert Retention(1440, lambda: [w]).sweep(2 * SECOND) == 0


def test_the_clock_is_that_of_the_records(prefix, frames):
    with Writer.create(prefix, frames) as w:
        publish(w, 0)
        assert Retention(1e-9, lambda: [w]).sweep() == 1


@pytest.mark.parametrize(
    ("minutes", "rate", "record", "wanted"),
    [
        (1, 4, 100, 256),
        (10, 4, 4096, 4096),
        (0.001, 1, 100, 4),
        (10, 4, 1 << 20, 256),
        (1440, 60, 1 << 30, 4),
        (1440, 1000, 1, 1 << 24),
    ],
)
def test_slots_hold_the_minutes_or_what_memory_allows(minutes, rate, record, wanted):
    assert fitting(minutes, rate, record) == wanted


def test_what_a_dead_process_left_is_zeroed_and_readers_are_told(prefix, frames):
    w = Writer.create(prefix, frames)
    publish(w, 1, 2)
    w.close()
    with Stream(prefix, "frames.a") as s:
        assert discard(prefix, "frames.a")
        assert s.state == "retired"
        assert len(s.window(16)[0]) == 0
    assert not discard(prefix, "frames.a")


def test_a_living_writers_stream_is_left_alone(prefix, frames):
    with Writer.create(prefix, frames) as w, Stream(prefix, "frames.a") as s:
        publish(w, 1)
        assert not discard(prefix, "frames.a")
        assert (s.state, len(s.window(16)[0])) == ("live", 1)


def test_what_is_no_stream_is_left_alone(prefix, tmp_path):
    assert not discard(prefix, "frames.none")
    (tmp_path / "jepad.frames.a").write_bytes(b"not a stream")
    assert not discard(f"{tmp_path}/jepad", "frames.a")
