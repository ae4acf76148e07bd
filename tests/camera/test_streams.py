"""The streams of a camera."""

import stat
from pathlib import Path

import numpy as np
import pytest

from jepad.camera.settings import CameraSettings
from jepad.camera.streams import Streams, slots_of
from jepad.errors import NotFound, RingError, SettingError
from jepad.ring.stream import Stream

SETTINGS = CameraSettings(source="lavfi:testsrc", size=64)


def test_life(prefix):
    streams = Streams(prefix, "door", SETTINGS)
    with pytest.raises(NotFound):
        Stream(prefix, "frames.door")
    streams.open()
    streams.open()
    square = np.full((64, 64, 3), 7, np.uint8)
    n = streams.publish(square, 1000, 5, (6, 2))
    with Stream(prefix, "frames.door") as frames, Stream(prefix, "motion.door") as motion:
        streams.tell(np.zeros(motion.header.shape, np.float32), 1000, n)
        with frames.latest() as got:
            assert (got.t_ns, got.source_n, got.aux) == (1000, 5, (6, 2))
            assert (got.array == 7).all()
        with motion.latest() as got:
            assert (got.t_ns, got.source_n) == (1000, n)
        assert motion.header.schema["head"][0] == "gate"
        streams.retire()
        assert frames.state == motion.state == "retired"
    with pytest.raises(RingError):
        streams.publish(square, 1, 1, (0, 0))
    streams.open()
    assert streams.publish(square, 1, 1, (0, 0)) == 0
    streams.retire(last=True)
    with pytest.raises(RingError, match="ends"):
        streams.open()


def test_nobody_else_reads_frames(prefix):
    streams = Streams(prefix, "door", SETTINGS)
    streams.open()
    for name in streams.names:
        assert stat.S_IMODE(Path(f"/dev/shm/{prefix}.{name}").stat().st_mode) == 0o640
    streams.retire()


def test_a_group_that_is_not_there_leaves_nothing_behind(prefix):
    settings = CameraSettings(source="lavfi:testsrc", size=64, group="no-such-group")
    streams = Streams(prefix, "door", settings)
    with pytest.raises(SettingError, match="no group"):
        streams.open()
    assert streams.frames is None


@pytest.mark.parametrize(
    ("fps", "minutes", "slots", "wanted"),
    [(4, 10, 64, 64), (4, 0.1, 64, 16), (0.1, 1, 64, 4), (30, 10, 1000, 512), (1, 1e-6, 64, 4)],
)
def test_slots_are_no_more_than_the_retention(fps, minutes, slots, wanted):
    made = CameraSettings(source="a", fps=fps, retention_min=minutes, slots=slots)
    assert slots_of(made) == wanted
