"""The model is trusted where it did better, and dropped where it did not."""

import numpy as np
import pytest

from jepad.heads.blend import Blend

HORIZONS = (1, 4, 16, 64)
SPREAD = np.array([-1.0, 0.0, 1.0])


def run(model_off, base_off, steps=400, channels=2):
    x = np.random.default_rng(0).normal(size=(steps, channels))
    blend = Blend(channels, HORIZONS)
    weight = None
    for row in x:
        flat = np.zeros((channels, 4, 3)) + SPREAD
        weight = blend.weights(row, flat + model_off, flat + base_off)
    return weight


def test_it_starts_in_between():
    blend = Blend(3, HORIZONS)
    flat = np.zeros((3, 4, 3))
    w = blend.weights(np.zeros(3), flat, flat)
    assert w.shape == (3, 4)
    assert ((w > 0) & (w < 1)).all()


def test_a_better_model_speaks_alone():
    assert (run(0.0, 5.0) == 1).all()


def test_a_worse_model_is_silent():
    assert (run(5.0, 0.0) == 0).all()


def test_a_model_gone_wrong_is_dropped_soon():
    blend = Blend(1, (1,))
    flat = np.zeros((1, 1, 3)) + SPREAD
    for _ in range(1000):
        blend.weights(np.zeros(1), flat, flat + 2)
    seen = [blend.weights(np.zeros(1), flat + 9, flat + 2)[0, 0] for _ in range(150)]
    assert seen[0] > 0.9
    assert seen[-1] == 0


def test_missing_samples_and_steps_change_nothing():
    blend = Blend(2, HORIZONS)
    flat = np.zeros((2, 4, 3)) + SPREAD
    before = blend.weights(np.zeros(2), flat, flat)
    for _ in range(100):
        after = blend.weights(np.full(2, np.nan), flat, flat, steps=3)
    assert (after == before).all()


def test_the_answer_is_compared_with_what_was_said_that_many_steps_ago():
    blend = Blend(1, (4,))
    for t in range(60):
        at = float(t)
        right = np.full((1, 1, 3), at + 4)
        wrong = np.full((1, 1, 3), at)
        weight = blend.weights(np.array([at]), right, wrong)
    assert weight[0, 0] == pytest.approx(1.0)


def test_memory_is_bounded():
    blend = Blend(1, HORIZONS)
    flat = np.zeros((1, 4, 3))
    for _ in range(500):
        blend.weights(np.zeros(1), flat, flat, steps=2)
    assert len(blend._waiting) == 64


def told(blend, channel):
    return [list(row) for row in blend.told(channel)]


def test_channels_that_stay_keep_their_errors_and_what_waits_for_an_answer():
    blend, one = Blend(2, (4,)), Blend(1, (4,))
    flat = np.zeros((2, 1, 3)) + SPREAD
    off = np.array([[[5.0]], [[0.0]]])
    for _ in range(10):
        blend.weights(np.zeros(2), flat + off, flat + 2)
        one.weights(np.zeros(1), flat[1:], flat[1:] + 2)
    blend.move(np.array([-1, 1]))
    assert not np.any(told(blend, 0))
    for _ in range(2):
        after = blend.weights(np.zeros(2), flat, flat + 2)
        same = one.weights(np.zeros(1), flat[1:], flat[1:] + 2)
        np.testing.assert_allclose(after[1], same[0])
    # Of the new channel nothing was said, so nothing is learned until its own words fall due.
    assert told(blend, 0)[2] == [0]


def test_what_is_told_is_taken_back_and_nonsense_refused():
    blend, other = Blend(2, HORIZONS), Blend(1, HORIZONS)
    flat = np.zeros((2, 4, 3)) + SPREAD
    for _ in range(100):
        blend.weights(np.zeros(2), flat, flat + 3)
    assert blend.proven == 1
    assert other.proven == 0
    other.restore(0, blend.told(1))
    assert told(other, 0) == told(blend, 1)
    rows = [[0.0] * 4] * 3
    for bad in (rows[:2], [[0.0] * 3] * 3, [[0.0] * 4, [0.0], [0.0] * 4], [[-1.0] * 4, *rows[1:]]):
        with pytest.raises(ValueError, match="errors"):
            other.restore(0, bad)
    with pytest.raises(ValueError, match="errors"):
        other.restore(0, [[float("nan")] * 4, *rows[1:]])
