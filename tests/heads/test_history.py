"""Running statistics, saved and restored."""

import numpy as np
import pytest

from jepad.heads.history import Running


def test_it_says_nothing_before_it_has_seen_enough():
    running = Running(2)
    for _ in range(127):
        running.update(np.array([1.0, np.nan]))
    assert np.isnan(running.history().mean).all()
    running.update(np.array([1.0, 1.0]))
    h = running.history()
    assert h.mean[0, 0] == 1.0
    assert np.isnan(h.mean[0, 1])


def test_mean_deviation_and_q97_of_noise():
    running = Running(50)
    rng = np.random.default_rng(0)
    for _ in range(4000):
        running.update(5 + 2 * rng.normal(size=50))
    h = running.history()
    np.testing.assert_allclose(h.mean, 5, atol=0.3)
    np.testing.assert_allclose(h.sd, 2, atol=0.3)
    assert np.abs(h.q97 - (5 + 2 * 1.88)).mean() < 0.4


def test_it_forgets():
    running = Running(1, memory=100)
    for value in (0.0, 10.0):
        for _ in range(1000):
            running.update(np.array([value]))
    assert running.history().mean[0, 0] == pytest.approx(10, abs=0.1)


def test_state_goes_through_a_file():
    running, other = Running(2), Running(2)
    for _ in range(200):
        running.update(np.random.default_rng(1).normal(size=2))
    other.restore(running.state())
    np.testing.assert_array_equal(other.history().sd, running.history().sd)
    with pytest.raises(ValueError, match="channels"):
        Running(3).restore(running.state())
