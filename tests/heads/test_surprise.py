"""Surprise is about what is usual here."""

import math

import numpy as np
import pytest

from jepad.heads.surprise import Surprise

RNG = np.random.default_rng(0)


def feed(surprise, count, size=1.0):
    zero = np.zeros((4, 32), np.float32)
    out = []
    for _ in range(count):
        z = (size * RNG.normal(size=32)).astype(np.float32)
        out.append(surprise.observe(z, zero))
    return out


def test_silent_until_it_knows_what_is_usual():
    seen = feed(Surprise(), 60)
    assert all(math.isnan(s) for s in seen)


def test_usual_things_are_no_surprise_and_unusual_ones_are():
    surprise = Surprise()
    usual = feed(surprise, 400)[100:]
    assert np.mean(usual) < 1
    assert feed(surprise, 1, size=4.0)[0] > 4
    assert max(usual) <= 20


def test_an_alarm_does_not_become_the_norm_at_once():
    surprise = Surprise()
    feed(surprise, 1000)
    assert min(feed(surprise, 30, size=6.0)) > 4


def test_gaps_and_nonsense_are_survived():
    surprise = Surprise()
    zero = np.zeros((4, 32), np.float32)
    for i in range(200):
        z = np.full(32, np.nan, np.float32) if i % 7 == 0 else np.ones(32, np.float32)
        score = surprise.observe(z, zero, steps=1 + (i % 11 == 0))
        assert math.isnan(score) or 0 <= score <= 20


def test_what_is_usual_is_told_and_taken_back():
    surprise, other = Surprise(), Surprise()
    feed(surprise, 200)
    other.restore(surprise.told())
    assert math.isnan(feed(other, 1)[0])  # nothing was predicted yet
    assert math.isfinite(feed(other, 1)[0])
    other.pause()
    assert math.isnan(feed(other, 1)[0])
    for bad in ([[0.0] * 4] * 2, [[0.0] * 4, [-1.0] * 4, [0.0] * 4], [[math.nan] * 4] * 3):
        with pytest.raises(ValueError, match="distances"):
            other.restore(bad)
