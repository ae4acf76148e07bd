"""One sample of all sources, whatever some of them do."""

import math

import numpy as np

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.records import GAP, Series
from jepad.sources.registry import build
from jepad.sources.snapshot import Clocks, Snapshot
from jepad.sources.source import PartlyRead


class Steady:
    """A source that gives what it is told to."""

    def __init__(self, name, answers):
        self.name = name
        self.answers = answers
        self.error = None

    def describe(self):
        return tuple(Series(name, "", "gauge") for name in self.answers)

    def read(self):
        if self.error:
            raise self.error
        return dict(self.answers)


class Clock:
    """Hands of both clocks, moved by the test."""

    def __init__(self):
        self.monotonic_ns = 0
        self.asleep_ns = 5_000_000_000

    def clocks(self):
        return Clocks(lambda: self.monotonic_ns, lambda: self.monotonic_ns + self.asleep_ns)


def test_values_stand_in_declared_order():
    snapshot = Snapshot([Steady("a", {"x": 1.0, "y": 2.0}), Steady("b", {"z": 3.0})])
    assert [s.name for s in snapshot.series] == ["x", "y", "z"]
    np.testing.assert_array_equal(snapshot.take().values, [1, 2, 3])


def test_a_failed_source_costs_only_its_own_values():
    bad, good = Steady("bad", {"x": 1.0}), Steady("good", {"y": 2.0})
    snapshot = Snapshot([bad, good])
    bad.error = SourceError("/proc/x: gone")
    for _ in range(3):
        np.testing.assert_array_equal(snapshot.take().values, [math.nan, 2])
    state = snapshot.states[0]
    assert (state.state, state.failures, state.samples) == ("failed", 3, 3)
    assert state.reason == "/proc/x: gone"
    bad.error = None
    np.testing.assert_array_equal(snapshot.take().values, [1, 2])
    assert (snapshot.states[0].state, snapshot.states[0].failures) == ("ok", 3)
    assert snapshot.states[1].failures == 0


def test_a_partly_read_source_keeps_its_good_values():
    source = Steady("a", {"x": 1.0, "y": 2.0})
    snapshot = Snapshot([source])
    source.error = PartlyRead("/sys/y: garbage", {"x": 5.0})
    np.testing.assert_array_equal(snapshot.take().values, [5, math.nan])
    assert snapshot.states[0].failures == 1


def test_an_absent_source_is_a_state_and_is_not_read():
    absent = Steady("none", {})
    absent.error = SourceError("read though absent")
    snapshot = Snapshot([absent])
    assert len(snapshot.take().values) == 0
    assert (snapshot.states[0].state, snapshot.states[0].failures) == ("absent", 0)


def test_infinite_values_are_not_seen_and_undeclared_ones_left_out():
    source = Steady("a", {"x": 1.0, "y": 2.0})
    snapshot = Snapshot([source])
    source.answers = {"x": math.inf, "y": 2.0, "w": 9.0}
    np.testing.assert_array_equal(snapshot.take().values, [math.nan, 2])


def test_the_first_sample_is_a_gap_and_a_changed_schema_is_none():
    source = Steady("a", {"x": 1.0})
    snapshot = Snapshot([source])
    assert snapshot.take().flags == GAP
    assert snapshot.take().flags == 0
    assert not snapshot.redescribe()
    assert snapshot.take().flags == 0
    source.answers["y"] = 2.0
    assert snapshot.redescribe()
    assert snapshot.take().flags == 0


def test_sleep_is_a_gap_and_a_set_wall_clock_is_none():
    clock = Clock()
    snapshot = Snapshot([Steady("a", {"x": 1.0})], clocks=clock.clocks())
    snapshot.take()
    clock.monotonic_ns += 1_000_000_000
    assert snapshot.take().flags == 0
    clock.monotonic_ns += 1_000_000_000
    clock.asleep_ns += 3_600_000_000_000
    assert snapshot.take().flags == GAP
    clock.monotonic_ns += 1_000_000_000
    sample = snapshot.take()
    assert (sample.flags, sample.t_ns) == (0, 3_000_000_000)


def test_missed_ticks_are_a_gap():
    clock = Clock()
    snapshot = Snapshot([Steady("a", {"x": 1.0})], 1.0, clock.clocks())
    snapshot.take()
    clock.monotonic_ns += 2_000_000_000
    assert snapshot.take().flags == 0
    clock.monotonic_ns += 3_000_000_000
    assert snapshot.take().flags == GAP


def test_two_sources_that_meet_on_a_name_make_one_series():
    snapshot = Snapshot([Steady("a", {"x": 1.0}), Steady("b", {"x": 2.0, "y": 3.0})])
    assert [s.name for s in snapshot.series] == ["x", "y"]
    np.testing.assert_array_equal(snapshot.take().values, [1, 3])


def test_all_sources_together_on_this_machine():
    sources = build(Roots())
    snapshot = Snapshot(sources, 1.0)
    first, second = snapshot.take(), snapshot.take()
    assert second.t_ns > first.t_ns
    assert first.values.shape == (len(snapshot.series),)
    failed = [state for state in snapshot.states if state.state == "failed"]
    assert not failed
    counters = [s.semantics == "counter" for s in snapshot.series]
    grown = (second.values - first.values)[counters]
    assert (grown[np.isfinite(grown)] >= 0).all()
    snapshot.close()
