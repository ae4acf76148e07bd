"""What "now", "lately" and "per second" mean, on made columns with known answers."""

import math

import numpy as np
import pytest

from jepad.heads.stall_past import Past, line, trend
from jepad.records import GAP, Series, Window


def past(values, t_s=None, flags=None):
    column = np.asarray(values, float)
    t_s = np.arange(len(column)) if t_s is None else np.asarray(t_s)
    flags = np.zeros(len(column), np.uint32) if flags is None else flags
    t_ns = np.round(t_s * 1e9).astype(np.int64)
    return Past(Window((Series("x", "", "gauge"),), t_ns, column[:, None], flags, len(column) - 1))


def test_growth_and_slope_of_a_line():
    straight = past(3.0 * np.arange(60))
    assert straight.grown("x") == pytest.approx(3.0)
    assert straight.slope("x", 10.0) == pytest.approx(3.0)
    assert straight.now("x") == 177.0


def test_the_same_at_ten_hertz():
    fast = past(0.3 * np.arange(600), np.arange(600) / 10)
    assert fast.grown("x") == pytest.approx(3.0)
    assert fast.slope("x", 30.0) == pytest.approx(3.0)
    assert len(fast.values[fast.rows(10.0)]) == 101


def test_only_the_last_seconds_count():
    turned = past(np.r_[np.zeros(50), np.arange(1, 11)])
    assert turned.grown("x", 5.0) == pytest.approx(1.0)
    assert turned.grown("x", 20.0) == pytest.approx(0.5)


def test_a_gap_and_a_clock_set_back_begin_anew():
    flags = np.zeros(60, np.uint32)
    flags[40] = GAP
    assert len(past(np.arange(60), flags=flags)) == 20
    assert len(past(np.arange(60), np.r_[np.arange(30), np.arange(30)])) == 30


def test_what_is_unknown_is_nan_and_not_zero():
    assert math.isnan(past(np.arange(10)).now("y"))
    assert math.isnan(past(np.arange(10)).grown("y"))
    assert math.isnan(past(np.full(10, np.nan)).now("x"))
    assert math.isnan(past([5.0]).grown("x"))
    assert math.isnan(past(np.arange(4)).slope("x", 10.0))
    assert math.isnan(past(-np.arange(10)).grown("x"))  # a counter that was reset


@pytest.mark.parametrize("damage", [np.inf, -np.inf, np.nan, 1e18, 1e300])
def test_damaged_readings_are_left_out(damage):
    holed = past(np.r_[np.arange(58), damage, 59])
    assert holed.now("x") == 59
    assert holed.slope("x", 10.0) == pytest.approx(1.0)
    assert past(np.r_[np.arange(59), damage]).now("x") == 58
    assert past(np.full(9, damage)).column("x") is None


def test_trend_needs_five_points():
    assert trend(np.arange(4.0), np.arange(4.0)) is None
    found = trend(np.arange(20.0), 3 * np.arange(20.0))
    assert found is not None
    assert found.slope == pytest.approx(3.0)


def test_a_burst_is_doubted():
    burst = np.r_[np.zeros(56), -1.0, -2.0, -3.0, -4.0]
    found = trend(np.arange(60.0), burst)
    assert found.sd > 0.8 * abs(found.slope)


def test_a_line_through_one_moment_has_no_slope():
    assert line(np.zeros(3), np.arange(3.0)) == (0.0, math.inf)
