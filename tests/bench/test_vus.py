"""VUS-PR as the authors' package gives it."""

import math

import numpy as np
import pytest

from bench.vus import events, vus_pr


def example():
    """Events at both ends, two that meet when widened, one of a single sample."""
    at = np.arange(400)
    label = np.zeros(400, int)
    for first, last in ((0, 5), (50, 57), (66, 89), (200, 200), (390, 399)):
        label[first : last + 1] = 1
    score = np.sin(at * 1.7) + np.cos(at * 0.37) * 0.5 + 1.2 * np.roll(label, 4) + 0.8 * label
    return np.round(score, 2), label > 0


@pytest.mark.parametrize(
    ("window", "known"),
    [
        (0, 0.7676647513323838),
        (7, 0.8005891877349269),
        (20, 0.8583858388098038),
        (100, 0.9309932067685164),
    ],
)
def test_as_the_reference(window, known):
    """Computed with TSB-AD 1.5, `generate_curve(label, score, window, "opt", 250)`."""
    assert vus_pr(*example(), window) == pytest.approx(known, abs=1e-9)


def test_best_and_none():
    score, label = example()
    assert vus_pr(label.astype(float), label, 0) == pytest.approx(1)
    assert math.isnan(vus_pr(score, np.zeros(400, bool)))


def test_events_have_both_ends():
    assert events(np.array([1, 1, 0, 1, 0, 1], bool)).tolist() == [[0, 1], [3, 3], [5, 5]]
