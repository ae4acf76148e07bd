"""What is usual of the series that stay is not forgotten when others come and go."""

import numpy as np
import pytest

from jepad.heads.unusual import MOST, Unusual


def host(steps, seed=0):
    """A load that swings and those that follow it."""
    rng = np.random.default_rng(seed)
    load = 50 + 20 * np.sin(np.arange(steps) / 40)
    return np.stack([load, 2 * load, 300 - load, 0 * load], 1) + rng.normal(size=(steps, 4))


def fed(unusual, rows):
    return [unusual.observe(row[None], [1], None) for row in rows]


@pytest.fixture
def lived():
    made = Unusual(4)
    fed(made, host(600))
    return made


def test_the_order_of_the_series_is_nothing_to_it(lived):
    other = Unusual(4)
    other.restore(lived.told())
    moved = Unusual(4)
    moved.restore(lived.told())
    order = np.array([2, 0, 3, 1])
    moved.move(order)
    rows = host(640)[600:]
    assert fed(moved, rows[:, order]) == pytest.approx(fed(other, rows))


def test_of_a_new_one_nothing_is_unusual_and_of_the_others_all_is_known(lived):
    lived.move(np.array([0, 1, 2, 3, -1]))
    rows = host(700)[600:]
    wild = np.column_stack([rows, np.geomspace(1, 1e12, 100)])
    calm = fed(lived, wild[:60])
    assert max(calm[10:]) < 5
    wild[60:, 1] = 200 - wild[60:, 1]  # what was never seen together
    assert fed(lived, wild[60:90])[-1] > max(calm[10:]) + 1
    assert lived.causes()[0] == 1
    assert len(lived.causes()) <= MOST


def test_one_goes_and_none_are_left(lived):
    lived.move(np.array([0, 1, 2]))
    assert max(fed(lived, host(660)[620:, :3])[10:]) < 6
    lived.move(np.array([], int))
    lived.move(np.array([-1, -1]))
    assert np.isfinite(fed(lived, host(600)[:300, :2])[-1])


def test_rows_at_once_are_as_rows_one_by_one(lived):
    other = Unusual(4)
    other.observe(host(600), [1] * 600, None)
    rows = host(610)[600:]
    assert fed(other, rows) == pytest.approx(fed(lived, rows))


def test_too_little_is_told_as_nothing():
    made = Unusual(3)
    assert made.told() == {}
    made.restore({})
    made.move(np.array([1, 0]))
    assert made.causes() == []
    for bad in ({"mean": [0.0]}, {"mean": None}, {"mean": "x"}):
        with pytest.raises(ValueError, match=r"usual|convert|channels|fit"):
            made.restore(bad)
