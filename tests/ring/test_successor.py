"""A stream changes its layout without a moment in which there is no way back."""

import os
import subprocess

import numpy as np
import pytest

from jepad.errors import RingError
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream, listing
from jepad.ring.successor import Successor
from jepad.ring.writer import Writer


def layout(channels, slots=64):
    return Layout("telemetry", np.float64, (channels,), {"channels": channels}, slots)


@pytest.fixture
def small_disk(tmp_path):
    """A directory of 1 MiB, as a prefix; such a file system stands in for a full /dev/shm."""
    where = tmp_path / "shm"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", where], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(mounted.stderr)
    yield f"{where}/p"
    subprocess.run(["umount", where], check=True)


def test_readers_of_the_old_are_sent_to_the_new(prefix):
    old = Writer.create(prefix, layout(2))
    old.publish(np.array([1.0, 2.0]), 5)
    before = Stream(prefix, "telemetry")
    successor = Successor(prefix, layout(3))
    successor.writer.publish(np.array([1.0, 2.0, 3.0]), 5)
    assert before.state == "live"
    assert listing(prefix) == ["telemetry"]
    new = successor.replace(old)
    assert before.state == "retired"
    after = Stream(prefix, "telemetry")
    assert (after.state, after.head, after.header.shape) == ("live", 0, (3,))
    assert new.publish(np.zeros(3), 6) == 1
    assert after.read().t_ns == 6
    new.retire()
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(prefix)]


def test_what_a_killed_one_left_is_not_taken_over(prefix):
    left = Writer.create(f"{prefix}-next", layout(3))
    left.publish(np.full(3, 9.0), 1)
    left.close()
    old = Writer.create(prefix, layout(2))
    successor = Successor(prefix, layout(3))
    new = successor.replace(old)
    assert Stream(prefix, "telemetry").head == -1
    new.retire()


def test_a_file_in_the_way_leaves_the_old_stream_alone(prefix):
    old = Writer.create(prefix, layout(2))
    os.mkdir(f"/dev/shm/{prefix}-next.telemetry")
    try:
        with pytest.raises(RingError, match=r"-next\.telemetry"):
            Successor(prefix, layout(3))
    finally:
        os.rmdir(f"/dev/shm/{prefix}-next.telemetry")
    stream = Stream(prefix, "telemetry")
    old.publish(np.zeros(2), 1)
    assert (stream.state, stream.head) == ("live", 0)
    old.retire()


@pytest.mark.may_skip("mounting a small file system takes root")
def test_no_room_leaves_the_old_stream_alone(small_disk):
    old = Writer.create(small_disk, layout(2))
    with pytest.raises(RingError, match=r"needs .* KiB of shared memory"):
        Successor(small_disk, layout(2000, 128))
    stream = Stream(small_disk, "telemetry")
    old.publish(np.zeros(2), 1)
    assert (stream.state, stream.head) == ("live", 0)
    Successor(small_disk, layout(3)).replace(old).retire()
