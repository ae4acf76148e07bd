"""Samples reach the ring; a changed set of series keeps the history of those that stay."""

import os

import numpy as np
import pytest

from jepad import config
from jepad.errors import BusError, NotReady
from jepad.paths import Roots
from jepad.records import Sample, Series
from jepad.ring.stream import Stream
from jepad.sources.registry import build
from jepad.sources.snapshot import Snapshot
from jepad.telemetry import Telemetry

RING = config.Ring(telemetry_slots=256)


class Plugged:
    """A machine whose disk appears when told."""

    def __init__(self):
        self.names = ["cpu.busy", "mem.MemFree"]
        self.states = ()
        self.count = 0

    @property
    def series(self):
        return tuple(Series(n, "", "gauge") for n in self.names)

    def take(self):
        self.count += 1
        values = np.array([self.count * 10 + i for i in range(len(self.names))], float)
        return Sample(self.count * 1_000_000_000, values)

    def redescribe(self):
        before = len(self.names)
        if self.count >= 3 and before == 2:
            self.names = ["cpu.busy", "disk.sdb.rd", "mem.MemFree"]
        return len(self.names) != before


def test_this_machine_reaches_the_ring(prefix):
    telemetry = Telemetry(Snapshot(build(Roots())), prefix, RING, 1.0)
    for _ in range(3):
        telemetry.tick()
    window = telemetry.window(64)
    names = [s.name for s in window.series]
    assert len(window.values) == 3
    assert np.isfinite(window.values[:, names.index("mem.MemFree")]).all()
    assert (np.diff(window.t_ns) > 0).all()
    telemetry.retire()


def test_new_series_keep_the_history_of_the_others(prefix):
    telemetry = Telemetry(Plugged(), prefix, RING, 1.0)
    reader = Stream(prefix, "telemetry")
    for _ in range(3):
        telemetry.tick()
    assert telemetry.redescribe()
    assert not telemetry.redescribe()
    telemetry.tick()
    window = telemetry.window(64)
    assert [s.name for s in window.series] == ["cpu.busy", "disk.sdb.rd", "mem.MemFree"]
    assert window.values[:, 0].tolist() == [10, 20, 30, 40]
    assert window.values[:, 2].tolist() == [11, 21, 31, 42]
    assert np.isnan(window.values[:3, 1]).all()
    assert window.values[3, 1] == 41
    assert reader.state == "retired"
    telemetry.retire()


def test_history_survives_the_daemon(prefix):
    first = Telemetry(Plugged(), prefix, RING, 1.0)
    for _ in range(5):
        first.tick()
    first.close()
    second = Telemetry(Plugged(), prefix, RING, 1.0)
    second.tick()
    assert second.window(64).values[:, 0].tolist() == [10, 20, 30, 40, 50, 10]
    second.retire()


def test_two_writers_are_one_too_many(prefix):
    first = Telemetry(Plugged(), prefix, RING, 1.0)
    with pytest.raises(BusError, match="a jepad runs already"):
        Telemetry(Plugged(), prefix, RING, 1.0)
    first.retire()


def test_the_end_of_a_trace_is_said(prefix):
    class Ended(Plugged):
        def take(self):
            raise NotReady("over")

    telemetry = Telemetry(Ended(), prefix, RING, 1.0)
    with pytest.raises(NotReady):
        telemetry.tick()
    assert telemetry.head == -1
    telemetry.retire()


class Crowd(Plugged):
    """A machine that gets as many series as it is told, and loses one."""

    def __init__(self):
        super().__init__()
        self.wanted = list(self.names)

    def redescribe(self):
        changed, self.names = self.names != self.wanted, list(self.wanted)
        return changed


def test_no_room_for_the_new_set_leaves_the_old_one(prefix, caplog):
    crowd = Crowd()
    telemetry = Telemetry(crowd, prefix, RING, 1.0)
    telemetry.tick()
    os.mkdir(f"/dev/shm/{prefix}-next.telemetry")  # nothing can be made beside the stream
    try:
        crowd.wanted = ["mem.MemFree", "disk.sdb.rd"]
        for _ in range(3):
            assert not telemetry.redescribe()
            telemetry.tick()
    finally:
        os.rmdir(f"/dev/shm/{prefix}-next.telemetry")
    window = telemetry.window(64)
    assert [s.name for s in window.series] == ["cpu.busy", "mem.MemFree"]
    assert window.values[:, 1].tolist() == [11, 20, 30, 40]  # the sampler's first column now
    assert np.isnan(window.values[1:, 0]).all()
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert len(errors) == 1
    assert f"{prefix}-next.telemetry" in errors[0]
    assert telemetry.redescribe()  # nothing changed since, but there is room now
    telemetry.tick()
    window = telemetry.window(64)
    assert [s.name for s in window.series] == ["mem.MemFree", "disk.sdb.rd"]
    assert window.values[:, 0].tolist() == [11, 20, 30, 40, 50]
    telemetry.retire()


def test_a_set_that_comes_back_needs_no_new_stream(prefix):
    crowd = Crowd()
    telemetry = Telemetry(crowd, prefix, RING, 1.0)
    reader = Stream(prefix, "telemetry")
    os.mkdir(f"/dev/shm/{prefix}-next.telemetry")
    try:
        for wanted in (["mem.MemFree"], [], ["cpu.busy", "mem.MemFree"]):
            crowd.wanted = wanted
            assert not telemetry.redescribe()
            telemetry.tick()
    finally:
        os.rmdir(f"/dev/shm/{prefix}-next.telemetry")
    assert not telemetry.redescribe()
    assert reader.state == "live"
    assert telemetry.window(1).values.tolist() == [[30, 31]]
    telemetry.retire()
