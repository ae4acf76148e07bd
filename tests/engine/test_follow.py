"""A follower is on the stream in force, whatever its writers do."""

import os

import numpy as np
import pytest

from jepad.engine.follow import Follower
from jepad.ring.layout import Layout
from jepad.ring.writer import Writer


@pytest.fixture
def create(prefix):
    made = []

    def write(channels):
        layout = Layout("telemetry", np.float64, (channels,), {}, 4)
        made.append(Writer.create(prefix, layout))
        return made[-1]

    yield write
    for writer in made:
        writer.close()


def test_none_then_one_then_another(prefix, create):
    follower = Follower(prefix, "telemetry")
    assert follower.stream() is None
    assert follower.reason
    writer = create(2)
    first = follower.stream()
    assert first.header.shape == (2,)
    assert follower.stream() is first
    assert not follower.reason
    writer.retire()
    assert follower.stream() is None
    create(3)
    assert follower.stream().header.shape == (3,)
    follower.close()


def test_stays_while_the_writer_is_away(prefix, create):
    follower = Follower(prefix, "telemetry")
    create(2).close()
    stream = follower.stream()
    assert stream.state == "stopped"
    assert follower.stream() is stream
    create(2)
    assert follower.stream() is stream
    assert stream.state == "live"


def test_an_object_removed_behind_our_back(prefix, create):
    follower = Follower(prefix, "telemetry")
    create(2).close()
    stream = follower.stream()
    os.unlink(f"/dev/shm/{prefix}.telemetry")
    assert follower.stream() is stream
    create(2)
    assert follower.stream() is not stream
    assert follower.stream().state == "live"
