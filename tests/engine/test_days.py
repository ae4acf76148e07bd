"""Minutes of the wall clock, whatever the clock does."""

import numpy as np
import pytest

from jepad.engine.days import MOST, MOST_BYTES, SLOTS, Days
from jepad.heads.history import AFTER, BEFORE

DAY = 86_400.0
NOW = 20_000 * DAY + 12 * 3600
A, B, C = ("a", "KiB"), ("b", ""), ("c", "")


def filled(series=(A, B), first=-7.2, last=0.0, value=lambda t: t - NOW):
    """From `first` to `last` days beside NOW, a row every ten seconds."""
    days = Days()
    days.place(series)
    at = NOW + np.arange(first * DAY, last * DAY, 10.0)
    days.add(at, np.stack([value(at) + i for i in range(len(series))], 1))
    days.flush()
    return days


def expected(shift=0.0):
    """[7, 80]: what `filled` knows of the moments around NOW on earlier days, at 10 s."""
    at = (np.arange(BEFORE + AFTER) - BEFORE + 1) * 10.0 - 5
    return at - np.arange(1, 8)[:, None] * DAY + shift


def test_a_week_is_remembered_and_the_moments_fall_where_they_belong():
    got = filled().around(NOW, 10.0)
    assert got.shape == (1, 2, 7, 80)
    np.testing.assert_allclose(got[0, 0], expected(-5), atol=1)
    np.testing.assert_allclose(got[0, 1] - got[0, 0], 1, atol=0.1)


def test_no_day_seen_is_none():
    assert Days().around(NOW, 10.0) is None
    assert filled(first=-0.5).around(NOW, 10.0) is None


def test_a_day_that_was_missed_is_unknown_and_the_others_stay():
    days = filled(first=-7.2, last=-4.5)
    later = NOW + np.arange(-1.2 * DAY, 0, 10.0)
    days.add(later, np.stack([later - NOW, later - NOW + 1], 1))
    got = days.around(NOW, 10.0)[0, 0]
    known = np.isfinite(got).all(1)
    assert known.tolist() == [True, False, False, False, True, True, True]


def test_old_minutes_do_not_stand_for_new_ones():
    """The same slot a ring later: never read as another week's."""
    days = filled()
    assert days.around(NOW + SLOTS * 60 + 3 * DAY, 10.0) is None


@pytest.mark.parametrize("wrong", [-NOW, 40 * 365 * DAY, -DAY, 1.5 * DAY, 7 * DAY])
def test_a_clock_that_was_wrong_for_ten_minutes_costs_ten_minutes(wrong):
    days = filled()
    before = days.around(NOW, 10.0)[0, 0]
    at = NOW + wrong + np.arange(0, 600, 10.0)
    days.add(at, np.full((60, 2), 1e6))
    got = days.around(NOW + 600, 10.0)[0, 0]
    mine = got > 1e3  # or between a minute of those and another
    whole = np.isfinite(got) & ~mine
    # What is not of those minutes is as it was; no minute of another day is made up.
    same = whole[:, :-60]
    np.testing.assert_allclose(got[:, :-60][same], before[:, 60:][same], atol=61)
    assert (~whole).sum() <= 72
    assert mine.any() == (wrong == -DAY)


def test_a_minute_that_comes_twice_is_the_second_one():
    days = filled()
    minute = NOW - DAY - NOW % 60
    for value in (5.0, 7.0):
        days.add(minute + np.arange(0, 60, 10.0), np.full((6, 2), value))
        days.add(np.array([NOW]), np.zeros((1, 2)))
    assert days.around(minute + DAY + 35, 10.0)[0, 0, 0, BEFORE - 1] == pytest.approx(7.0)


def test_missing_values_are_no_news():
    days = Days()
    days.place([A, B])
    at = NOW - DAY + np.arange(-300, 900, 10.0)
    rows = np.stack([np.where(np.arange(120) % 2, np.nan, 4.0), np.full(120, np.nan)], 1)
    days.add(at, rows)
    got = days.around(NOW, 10.0)
    np.testing.assert_allclose(got[0, 0, 0], 4.0)
    assert np.isnan(got[0, 1]).all()


def test_series_keep_their_column_by_name():
    days = filled()
    days.place([C, B])
    got = days.around(NOW, 10.0)
    assert np.isnan(got[0, 0]).all()
    np.testing.assert_allclose(got[0, 1], expected(-4), atol=1)
    days.place([A])
    np.testing.assert_allclose(days.around(NOW, 10.0)[0, 0], expected(-5), atol=1)


def test_those_gone_longest_make_room():
    days = filled()
    days.place([(f"n{i}", "") for i in range(MOST)])
    days.place([A])
    assert days.around(NOW, 10.0) is None
    stored = days.stored()
    assert len(stored.series) == MOST
    assert len(stored.means) + len(stored.minutes) < MOST_BYTES < 4e6


def test_it_is_stored_and_restored():
    days = filled()
    other = Days()
    other.restore(days.stored())
    other.place([B])
    np.testing.assert_array_equal(other.around(NOW, 10.0)[0, 0], days.around(NOW, 10.0)[0, 1])


def spoiled(**changes):
    stored = filled(first=-1.2).stored()
    for name, value in changes.items():
        setattr(stored, name, value)
    return stored


@pytest.mark.parametrize(
    "stored",
    [
        spoiled(series=[A]),
        spoiled(series=[A, A]),
        spoiled(series=[(str(i), "") for i in range(MOST + 1)]),
        spoiled(minutes=b""),
        spoiled(minutes=bytes(SLOTS * 4)),
        spoiled(means=bytes(7)),
        spoiled(means=np.full(SLOTS * 2, np.inf, np.float32).tobytes()),
    ],
)
def test_what_was_never_stored_is_refused(stored):
    days = Days()
    with pytest.raises(ValueError, match=r"days|buffer"):
        days.restore(stored)
    assert days.around(NOW, 10.0) is None
