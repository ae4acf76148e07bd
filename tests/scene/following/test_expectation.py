"""What surprises: beside predictions, beside what is usual."""

import math

import numpy as np
import pytest

from jepad.scene.following.expectation import LEAST, Expectation
from jepad.scene.following.seer import Look
from jepad.scene.normal import normed

DRAWS = np.random.default_rng(0)


def look(seen, ahead=None, pooled=None):
    """Steps of two tokens of three numbers, each all of one value."""

    def steps(values):
        return np.broadcast_to(np.float32(values)[:, None, None], (len(values), 2, 3))

    return Look(
        np.zeros(4, np.float32) if pooled is None else pooled,
        steps(seen),
        None if ahead is None else steps(ahead),
    )


def test_seen_beside_what_was_predicted():
    expectation = Expectation(True)
    assert math.isnan(expectation.measure(look([0, 1], [2, 5]), 2, False).surprise)
    # Steps 3 and 4 were expected to be 2 and 5 and are 2 and 9.
    assert expectation.measure(look([2, 9], [7, 7]), 4, False).surprise == 2
    # Only step 5 is new.
    assert expectation.measure(look([9, 8], [1, 1]), 5, False).surprise == 1


def test_what_nobody_predicted_surprises_nobody():
    expectation = Expectation(True)
    expectation.measure(look([0], [1]), 1, False)
    assert math.isnan(expectation.measure(look([5], [1]), 3, False).surprise)
    assert expectation.measure(look([3], [1]), 4, False).surprise == 2
    expectation.gap()
    assert math.isnan(expectation.measure(look([3], [1]), 1, False).surprise)


def test_what_is_expected_of_a_still_scene_holds_on():
    expectation = Expectation(True)
    expectation.measure(look([0], [1]), 1, False)
    assert expectation.measure(look([0, 5], [1]), 40, True).surprise == 4


def test_a_window_shorter_than_what_was_predicted():
    expectation = Expectation(True)
    expectation.measure(look([0], [1, 2, 3]), 1, False)
    assert expectation.measure(look([5], [0, 0, 0]), 4, False).surprise == 2


def test_without_a_prediction_it_is_the_distance_to_the_usual():
    expectation = Expectation(False)
    base = DRAWS.standard_normal(64).astype(np.float32)

    def near():
        return look([0], pooled=base + 0.01 * DRAWS.standard_normal(64).astype(np.float32))

    assert math.isnan(expectation.measure(near(), 1, False).surprise)
    found = [expectation.measure(near(), 2 + i, False) for i in range(3 * LEAST)]
    assert all(each.surprise < 0.05 for each in found)
    assert [math.isnan(each.beside) for each in found] == [True] * LEAST + [False] * 2 * LEAST
    assert all(0.5 < each.beside < 2 for each in found[LEAST:])
    other = DRAWS.standard_normal(64).astype(np.float32)
    far = expectation.measure(look([0], pooled=other), 99, False)
    exact = np.sqrt(np.square(normed(other) - normed(base)).mean())
    assert far.surprise == pytest.approx(exact, rel=0.05)
    assert far.beside > 20


def test_a_gap_does_not_change_what_is_usual():
    expectation = Expectation(False)
    same = look([0], pooled=np.arange(4, dtype=np.float32))
    expectation.measure(same, 1, False)
    expectation.gap()
    assert expectation.measure(same, 1, False).surprise == pytest.approx(0, abs=1e-6)
