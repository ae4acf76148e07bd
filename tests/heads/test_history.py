"""Running statistics, saved and restored."""

from dataclasses import replace

import numpy as np
import pytest

from jepad.heads.history import AFTER, BEFORE, DAYS, Running, joined


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


def test_one_absurd_value_does_not_spoil_it_but_a_new_level_is_learned():
    running = Running(1)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        running.update(rng.normal(size=1))
    running.update(np.array([1e17]))
    assert running.history().sd[0, 0] < 5
    for _ in range(3000):
        running.update(1e6 + rng.normal(size=1))
    assert running.history().mean[0, 0] > 1e5


def test_what_never_moved_may_start_to():
    running = Running(1)
    for value in [0.0] * 500 + [5.0] * 500:
        running.update(np.array([value]))
    assert running.history().mean[0, 0] == pytest.approx(2.5, rel=0.1)


def test_other_channels_keep_what_is_theirs():
    running = Running(3)
    for _ in range(200):
        running.update(np.array([1.0, 2.0, 3.0]))
    running.move(np.array([2, -1, 0]))
    mean = running.history().mean[0]
    assert (mean[0], mean[2]) == (3, 1)
    assert np.isnan(mean[1])


def test_what_is_told_is_taken_back():
    running, other = Running(2), Running(3)
    for _ in range(200):
        running.update(np.random.default_rng(1).normal(size=2))
    other.restore(2, running.told(1))
    assert other.history().sd[0, 2] == running.history().sd[0, 1]
    assert np.isnan(other.history().sd[0, :2]).all()


@pytest.mark.parametrize(
    "told", [(1, 2, 3), (1, 2, 3, 4, 5), (np.nan, 0, 0, 0), (9, np.inf, 0, 0), (9, 0, -1, 0)]
)
def test_what_nobody_told_is_refused(told):
    with pytest.raises(ValueError, match="statistics"):
        Running(1).restore(0, told)


def test_hosts_with_and_without_days_make_one_batch():
    plain = Running(2).history()
    seen = replace(plain, days=np.ones((1, 2, DAYS, BEFORE + AFTER), np.float32))
    assert joined([]) is None
    assert joined([plain, plain]).days is None
    both = joined([plain, seen])
    assert both.mean.shape == (2, 2)
    assert np.isnan(both.days[0]).all()
    assert (both.days[1] == 1).all()
