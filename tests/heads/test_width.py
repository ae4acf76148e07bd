"""Intervals come to hold what they claim, channel by channel."""

import numpy as np
import pytest

from jepad.heads.width import Width


def _run(width, noise, claimed, rounds=3000):
    """Share of answers inside, in the second half, of N(0, noise) under p10..p90 = ±claimed."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(rounds, 1)) * noise
    said = np.array([-claimed, 0.0, claimed])[None, None].repeat(2, 1)
    held, waiting = [], []
    for now in values:
        held += [float(w[0, 0, 0] <= now[0] <= w[0, 0, 2]) for w in waiting[-1:]]
        waiting.append(width.fitted(now, said))
    return np.mean(held[rounds // 2 :])


@pytest.mark.parametrize("claimed", [0.6, 1.2816, 3.0])
def test_wrong_widths_are_mended(claimed):
    assert _run(Width(1, (1, 4)), 1.0, claimed) == pytest.approx(0.8, abs=0.03)


def test_the_middle_stays_and_flat_or_unknown_channels_teach_nothing():
    width = Width(3, (1, 4))
    said = np.zeros((3, 2, 3))
    said[0] = [1.0, 2.0, 5.0]
    said[2] = [1.0, 2.0, 5.0]
    for _ in range(50):
        out = width.fitted(np.array([2.0, 7.0, np.nan]), said)
    assert (out[..., 1] == said[..., 1]).all()
    assert width.log[0].max() < 0  # always inside: narrower
    assert (width.log[1:] == 0).all()
    assert np.isfinite(out).all()


def test_factors_stay_within_bounds():
    width = Width(1, (1,))
    said = np.array([[[-1.0, 0.0, 1.0]]])
    for _ in range(2000):
        out = width.fitted(np.array([1e9]), said)
    assert out[0, 0, 2] == pytest.approx(4.0)


def test_factors_are_told_taken_back_and_moved():
    width = Width(3, (1, 4))
    width.log[:] = [[0.5, 0.1], [0.2, 0.3], [0.0, 0.0]]
    again = Width(1, (1, 4))
    again.restore(0, width.told(1))
    assert again.told(0) == [0.2, 0.3]
    for bad in ([0.1], [np.nan, 0.1]):
        with pytest.raises(ValueError, match="widths"):
            again.restore(0, bad)
    again.restore(0, [99.0, -99.0])
    assert np.exp(again.told(0)) == pytest.approx([4.0, 0.4])
    width.move(np.array([1, -1, 0]))
    assert width.log.tolist() == [[0.2, 0.3], [0.0, 0.0], [0.5, 0.1]]


def test_what_waits_moves_with_its_channel():
    width = Width(2, (1,))
    width.fitted(np.zeros(2), np.array([[[-1.0, 0.0, 1.0]], [[9.0, 10.0, 11.0]]]))
    width.move(np.array([1, -1]))
    width.fitted(np.array([10.0, 10.0]), np.ones((2, 1, 3)))
    assert width.log[0, 0] < 0  # it held
    assert width.log[1, 0] == 0  # of a new one nothing was said
