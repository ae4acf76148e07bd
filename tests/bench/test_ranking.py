"""Areas, intervals and folds on scores whose figures are known."""

import numpy as np
import pytest

from bench.ranking import auroc, bootstrapped, held_out


def test_area_of_known_rankings():
    label = np.array([0, 0, 1, 1])
    assert auroc(np.array([1.0, 2, 3, 4]), label) == 1
    assert auroc(np.array([4.0, 3, 2, 1]), label) == 0
    assert auroc(np.ones(4), label) == 0.5
    assert auroc(np.array([1.0, 3, 2, 4]), label) == 0.75
    assert auroc(np.array([1.0, 2, 2, 4]), label) == 0.875  # a tie is half
    assert np.isnan(auroc(np.ones(3), np.zeros(3, int)))


def test_area_agrees_with_every_pair():
    draws = np.random.default_rng(0)
    score, label = draws.integers(0, 9, 60).astype(float), draws.integers(0, 2, 60)
    pairs = score[label == 1][:, None] - score[label == 0]
    assert auroc(score, label) == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())


def test_the_interval_draws_whole_groups():
    draws = np.random.default_rng(1)
    groups = np.repeat(np.arange(20), 10)
    label = np.repeat(draws.integers(0, 2, 20), 10)
    score = label + np.repeat(draws.normal(0, 1.5, 20), 10)

    def figure(at):
        return auroc(score[at], label[at])

    sure = bootstrapped(figure, groups, 200)
    alone = bootstrapped(figure, np.arange(200), 200)
    assert sure.low < sure.value < sure.high
    assert sure.high - sure.low > 2 * (alone.high - alone.low)
    assert sure == bootstrapped(figure, groups, 200)
    assert sure.interval.startswith("[0.")


def test_what_only_groups_share_is_not_ranked():
    draws = np.random.default_rng(2)
    groups = [f"g{n // 6}" for n in range(120)]
    label = np.repeat(draws.integers(0, 2, 20), 6)
    mark = np.repeat(draws.normal(size=(20, 4)), 6, axis=0)  # each group's own
    found = held_out(mark, label, groups)
    assert 0.1 < auroc(found, label) < 0.8
    told = mark + label[:, None] * 4
    assert auroc(held_out(told, label, groups), label) > 0.95
