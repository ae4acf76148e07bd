"""The figures, beside values worked out by hand or by another library."""

import numpy as np
import pytest

from jepad.learn import metrics

RNG = np.random.default_rng(0)


def test_ratio_is_a_geometric_mean_over_channels():
    theirs = np.ones((10, 2, 1))
    mine = theirs * np.array([0.5, 2.0])[None, :, None]
    assert metrics.ratio([mine], [theirs])[0] == pytest.approx(1.0)
    assert metrics.ratio([mine[:, :1]], [theirs[:, :1]])[0] == pytest.approx(0.5)


def test_channels_without_answers_or_motion_do_not_count():
    theirs, mine = np.ones((10, 3, 1)), np.full((10, 3, 1), 0.5)
    theirs[:, 1] = 0
    mine[3:, 2] = np.nan
    assert metrics.ratio([mine], [theirs])[0] == pytest.approx(0.5)
    assert np.isnan(metrics.ratio([mine[:3]], [theirs[:3]])[0])


def test_coverage():
    actual = np.linspace(0, 1, 101)[:, None, None]
    q = np.broadcast_to(np.array([0.1, 0.5, 0.9]), (101, 1, 1, 3))
    assert metrics.coverage([actual], [q])[0] == pytest.approx(0.8, abs=0.02)


def test_areas_by_counting_pairs():
    score = RNG.normal(size=60).round(1)
    label = RNG.random(60) < 1 / (1 + np.exp(-score))
    pairs = [(a > b) + 0.5 * (a == b) for a in score[label] for b in score[~label]]
    assert metrics.auroc(score, label) == pytest.approx(np.mean(pairs))
    assert np.isnan(metrics.auroc(score, label | True))


def test_average_precision_by_hand():
    score = np.array([4.0, 3, 2, 1])
    label = np.array([True, False, True, False])
    assert metrics.average_precision(score, label) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.average_precision(score * 0, label) == pytest.approx(0.5)


def test_recall_at_a_precision():
    score = np.array([4.0, 3, 2, 1])
    label = np.array([True, False, True, False])
    assert metrics.recall_at(score, label, 0.5) == 1.0
    assert metrics.recall_at(score, label, 0.9) == 0.5


def test_effective_rank():
    z = RNG.normal(size=(2000, 8))
    assert metrics.effective_rank(z) == pytest.approx(8, abs=0.1)
    assert metrics.effective_rank(z[:, :1] @ np.ones((1, 8))) == pytest.approx(1, abs=0.01)
