"""Times, the grid of a rate, and how far behind a source is."""

import math

import pytest

from jepad.camera.pace import LOST_S, Grid, Origin, Times


def times(told, rate=10.0, timed=True):
    one = Times(rate)
    one.begin(rate, timed=timed)
    return [round(one.of(t), 3) for t in told]


def test_times_count_from_the_first():
    assert times([5.0, 5.1, 5.3]) == [0, 0.1, 0.3]


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_without_a_time_the_rate_counts(nothing):
    assert times([nothing] * 3) == [0, 0.1, 0.2]


def test_of_some_containers_no_time_is_believed():
    assert times([0.0, 7.0, 3.0], timed=False) == [0, 0.1, 0.2]


def test_times_never_go_back_nor_leap():
    assert times([0.0, 0.2, 0.1, 0.3]) == [0, 0.2, 0.2, 0.3]
    assert times([0.0, 0.1, 1e12, 1e12 + 0.1]) == [0, 0.1, 0.2, 0.3]
    assert times([9.0, 9.1, 0.0, 0.1]) == [0, 0.1, 0.2, 0.3]
    assert times([0.0, 50.0]) == [0, 50]


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf])
def test_a_rate_that_is_none(rate):
    assert times([None, None], rate) == [0, 0.04]


def test_a_source_that_begins_anew_goes_on():
    one = Times(10)
    assert [one.of(3.0), one.of(3.1)] == [0, pytest.approx(0.1)]
    one.begin(10, timed=True)
    assert [one.of(0.0), one.of(0.1)] == [pytest.approx(0.2), pytest.approx(0.3)]


@pytest.mark.parametrize("source_fps", [4, 5, 7.5, 10, 12.5, 25, 30, 60, 10000])
def test_the_grid_gives_the_wanted_rate(source_fps):
    grid = Grid(4)
    taken = sum(grid.takes(i / source_fps) for i in range(int(source_fps * 20)))
    assert abs(taken - 80) <= 1


def test_a_source_that_is_slower_gives_all_it_has():
    grid = Grid(4)
    assert all(grid.takes(i / 2) for i in range(20))


def test_jitter_takes_no_frame_away():
    grid = Grid(4)
    shift = (0, 0.05, -0.06, 0.1, -0.1, 0.02)
    assert all(grid.takes(i / 4 + shift[i % 6]) for i in range(60))


def test_after_a_pause_the_grid_goes_on():
    grid = Grid(4)
    assert grid.takes(0)
    assert grid.takes(100.3)
    assert not grid.takes(100.31)


def test_behind_in_our_own_time():
    origin = Origin(ours=True)
    assert origin.behind(0, 100) == 0
    assert origin.behind(1, 100.5) == pytest.approx(-0.5)
    assert origin.behind(1, 102) == pytest.approx(1)
    assert origin.behind(2, 102 + LOST_S + 2) == 0  # stopped for long: begins anew
    assert origin.behind(3, 102 + LOST_S + 3) == pytest.approx(0)


def test_behind_of_a_source_with_a_clock_of_its_own():
    origin = Origin(ours=False)
    assert origin.behind(0, 100.3) == 0  # the first came late
    assert origin.behind(1, 101) == 0
    assert origin.behind(2, 102.4) == pytest.approx(0.4, abs=0.01)
    late = [origin.behind(t, 102 + (t - 2) * 1.0005) for t in range(3, 4000)]
    assert max(late) < 0.1  # a slow clock is no delay
