"""Counters made rates."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jepad.records import GAP, Series, Window
from jepad.sources.rates import rates

SERIES = (Series("c", "B", "counter"), Series("g", "KiB", "gauge"), Series("n", "", "counter"))


def window(rows, flags=None, t_s=None):
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(SERIES))
    t_ns = np.array([round(t * 1e9) for t in (t_s or range(len(rows)))], dtype=np.int64)
    marks = np.array(flags or [0] * len(rows), dtype=np.uint32)
    return Window(SERIES, t_ns, values, marks, len(rows) - 1)


def test_units_and_names():
    series, _, _ = rates(window([[1, 2, 3]]))
    assert [(s.name, s.unit, s.semantics) for s in series] == [
        ("c", "B/s", "gauge"),
        ("g", "KiB", "gauge"),
        ("n", "1/s", "gauge"),
    ]


def test_rates_are_per_second_and_gauges_untouched():
    _, t_ns, out = rates(window([[0, 7, 0], [10, 8, 1], [40, 9, 1]], t_s=[0, 2, 3]))
    np.testing.assert_allclose(out, [[math.nan, 7, math.nan], [5, 8, 0.5], [30, 9, 0]])
    assert t_ns.tolist() == [0, 2_000_000_000, 3_000_000_000]


def test_a_reset_and_a_gap_and_a_value_not_seen_are_unknown():
    rows = [[100, 1, 1], [5, 1, 2], [10, 1, 3], [20, 1, 4], [math.nan, 1, 5], [50, 1, 6]]
    _, _, out = rates(window(rows, flags=[0, 0, GAP, 0, 0, 0]))
    nan = math.nan
    np.testing.assert_allclose(out[:, 0], [nan, nan, nan, 10, nan, nan])
    np.testing.assert_allclose(out[:, 2], [nan, 1, nan, 1, 1, 1])
    assert (out[:, 1] == 1).all()


def test_a_counter_of_32_bits_goes_on():
    _, _, out = rates(window([[2**32 - 50, 0, 2**40], [50, 0, 3]]))
    assert out[1, 0] == 100
    assert math.isnan(out[1, 2])  # too far from 2**32 to have turned there: a reset


def test_no_time_between_rows_is_no_rate():
    _, _, out = rates(window([[1, 1, 1], [2, 1, 2]], t_s=[5, 5]))
    assert np.isnan(out[1, [0, 2]]).all()


def test_an_empty_window_stays_empty():
    _, _, out = rates(window([]))
    assert out.shape == (0, 3)


numbers = st.one_of(st.floats(0, 2**33), st.just(math.nan))
rows = st.lists(st.tuples(numbers, numbers, numbers, st.booleans(), st.floats(0, 9)), max_size=12)


@given(rows)
def test_no_rate_is_below_zero(drawn):
    flags = [GAP if row[3] else 0 for row in drawn]
    t_s = list(np.cumsum([row[4] for row in drawn]))
    _, _, out = rates(window([row[:3] for row in drawn], flags, t_s))
    assert not (out[:, [0, 2]] < 0).any()
