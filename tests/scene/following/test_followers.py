"""Streams are followed in this process: gaps, faults, several at once."""

import os
import threading

import numpy as np
import pytest

from jepad.errors import EngineError, NotFound, TooLarge
from jepad.records import GAP
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer
from jepad.scene import onnx, wire
from jepad.scene.following import followers as room
from jepad.scene.following.follower import NICE
from jepad.scene.following.followers import Followers
from jepad.scene.following.seer import Seer
from jepad.scene.model import Model
from jepad.scene.placement import Device
from tests.scene import small
from tests.scene.conftest import until
from tests.scene.following.camera import Camera


class Rig:
    """Followers of a tiny model; what it computes can be held up and can fail."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.backend = onnx.load(small.installed("2.0"), "fp32")
        self.go, self.at, self.error = threading.Event(), threading.Event(), None
        self.nice = None
        self.go.set()
        self.followers = Followers(prefix, Seer(Model(self.backend.manifest), self._run))
        self.cameras = []

    def camera(self, name="door", **how):
        self.cameras.append(Camera(self.prefix, name, **how))
        return self.cameras[-1]

    def follow(self, stream, **how):
        return self.followers.take(wire.Follow(1, 0, wire.Watched(stream, window=2, **how)))

    def how(self, stream="frames.door"):
        return self.followers.take(wire.Followed(1, 0, stream))

    def unfollow(self, stream="frames.door"):
        return self.followers.take(wire.Unfollow(1, 0, stream))

    def seen(self, n, stream="frames.door"):
        return until(lambda: (said := self.how(stream)).newest >= n and said)

    def _run(self, run):
        self.nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        self.at.set()
        self.go.wait()
        if self.error is not None:
            raise self.error
        return run(self.backend)


@pytest.fixture
def rig(prefix):
    made = Rig(prefix)
    yield made
    made.error = None
    made.go.set()
    for camera in made.cameras:
        camera.retire()
    made.followers.stop()


def test_a_reader_that_was_too_slow_goes_on_and_says_so(rig, prefix):
    door = rig.camera(slots=4)
    door.publish(0)
    rig.follow(door.stream)
    rig.go.clear()
    door.publish(0.1)
    rig.at.wait()
    for i in range(20):
        door.publish(i / 20)
    rig.go.set()
    until(lambda: rig.how().counts["lapped"])
    last = door.publish(0.5)
    said = rig.seen(last)
    rig.seen(door.publish(0.6) and door.publish(0.7))
    with Stream(prefix, said.embeddings) as embeddings:
        flags = [embeddings.read(n=n).flags for n in range(embeddings.head + 1)]
        assert flags[:2] == [GAP, GAP]  # the first, and the first after what was lost
        assert not any(flags[2:])
        assert embeddings.read(n=1).source_n >= last - 2


def test_what_came_after_a_gap_is_no_part_of_the_clip_before(rig, prefix):
    door = rig.camera()
    door.publish(0)
    rig.follow(door.stream)
    door.publish(0.9, flags=GAP)  # the second of its step, but nothing follows on the first
    said = rig.seen(door.publish(1))
    with Stream(prefix, said.embeddings) as embeddings:
        record = embeddings.read(n=0)
        assert record.source_n == 2
        exact = Seer(Model(rig.backend.manifest), rig._run).look(np.stack(door.frames[1:]), 0)
        np.testing.assert_allclose(record.array, exact.pooled, atol=1e-5)


def test_a_late_reader_encodes_the_newest_clip_alone(rig):
    door = rig.camera()
    door.publish(0)
    rig.follow(door.stream)
    rig.go.clear()
    door.publish(0.1)
    rig.at.wait()
    for i in range(10):
        last = door.publish(i / 10)
    rig.go.set()
    said = rig.seen(last)
    assert (said.counts["published"], said.counts["behind"], said.counts["lapped"]) == (2, 4, 0)


def test_it_is_nice(rig):
    door = rig.camera()
    door.publish(0)
    rig.follow(door.stream)
    rig.seen(door.publish(0))
    assert rig.nice == min(os.getpriority(os.PRIO_PROCESS, 0) + NICE, 19)


def test_a_fault_of_the_model_is_told_and_got_over(rig):
    door = rig.camera()
    door.publish(0)
    rig.follow(door.stream)
    rig.error = EngineError("the device is faulty")
    door.publish(0)
    said = until(lambda: (said := rig.how()).counts["failures"] and said)
    assert (said.state, said.reason, said.newest) == ("running", "the device is faulty", -1)
    rig.error = None
    door.publish(0)
    assert rig.seen(door.publish(0)).reason == ""


def test_a_fault_of_ours_ends_that_stream_alone(rig):
    door, yard = rig.camera(), rig.camera("yard")
    for each in (door, yard):
        each.publish(0)
        rig.follow(each.stream)
    rig.seen(door.publish(0))
    rig.error = ValueError("a bug")
    door.publish(0)
    door.publish(0)
    said = until(lambda: (said := rig.how()).state == "failed" and said)
    assert "a bug" in said.reason
    rig.error = None
    rig.seen(yard.publish(0), yard.stream)
    rig.follow(door.stream)
    rig.seen(door.publish(0))


def test_a_stream_that_becomes_another_is_followed_or_named(rig, prefix):
    door = rig.camera()
    door.publish(0)
    rig.follow(door.stream)
    rig.seen(door.publish(0))
    door.retire()
    wide = rig.camera(shape=(96, 128, 3))
    frame = np.zeros((96, 128, 3), np.uint8)
    for i in range(8):
        wide.writer.publish(frame, i + 1)
    until(lambda: rig.how().newest == 7)
    wide.retire()
    with Writer.create(prefix, Layout(door.stream, np.float32, (4,), {}, 4)):
        said = until(lambda: (said := rig.how()).state == "failed" and said)
        assert "no frames in it" in said.reason


def test_another_question_of_the_same_stream_begins_anew(rig, prefix):
    door = rig.camera()
    door.publish(0)
    rig.follow(door.stream)
    rig.seen(door.publish(0))
    with Stream(prefix, "embeddings.door") as before:
        assert rig.follow(door.stream).newest == 1
        assert rig.follow(door.stream, ahead_s=1).newest == -1
        assert before.state == "retired"
    rig.seen(door.publish(0))
    assert rig.unfollow().state == "ended"
    assert not [f for f in os.listdir("/dev/shm") if f.startswith(f"{prefix}.embeddings")]


def test_several_share_the_model_and_too_many_are_refused(rig, monkeypatch):
    monkeypatch.setattr(room, "MOST", 3)
    cameras = [rig.camera(f"c{i}") for i in range(4)]
    for each in cameras:
        each.publish(0)
    for each in cameras[:3]:
        rig.follow(each.stream)
    with pytest.raises(EngineError, match="3 streams are followed already"):
        rig.follow(cameras[3].stream)
    for each in cameras[:3]:
        rig.seen(each.publish(0), each.stream)
    assert len(rig.followers) == 3
    rig.follow(cameras[0].stream, every=2)
    rig.unfollow(cameras[1].stream)
    rig.follow(cameras[3].stream)
    assert len(rig.followers) == 3


def test_memory_that_is_not_there(rig, monkeypatch):
    rig.camera().publish(0)
    monkeypatch.setattr(room, "cpu", lambda: Device("cpu", 1000, 1000))
    with pytest.raises(TooLarge, match=r"following frames\.door"):
        rig.follow("frames.door")
    with pytest.raises(NotFound):
        rig.how()
