"""Rounds, medians and ratios; clocks are made up: tests time nothing."""

import pytest

from bench.interleaved import Times, interleaved


def test_every_call_is_warmed_once_and_measured_once_a_round():
    done = []
    calls = {name: (lambda name=name: done.append(name)) for name in "abc"}
    times = interleaved(calls, 5, lambda call: (call(), 2.0)[1])
    assert done[:3] == ["a", "b", "c"]
    rounds = [done[i : i + 3] for i in range(3, len(done), 3)]
    assert len(rounds) == 5
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1  # not always the same neighbour
    assert times.median("b") == 2.0


def test_a_ratio_is_taken_within_rounds():
    times = Times({"slow": [2.0, 20.0, 3.0], "fast": [1.0, 10.0, 1.0]})
    assert times.ratio("slow", "fast") == 2.0
    assert times.median("slow") == 3.0


def test_unequal_rounds_are_a_mistake():
    with pytest.raises(ValueError, match="shorter"):
        Times({"slow": [1.0], "fast": [1.0, 2.0]}).ratio("fast", "slow")
