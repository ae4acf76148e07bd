"""Three figures, each of which sees what the others hide."""

import numpy as np
import pytest

from jepad.errors import ModelError
from jepad.learn.video.gate import Accuracy, Limits, choices_alike, clips, tokens_alike


@pytest.fixture
def tokens():
    return np.random.default_rng(1).standard_normal((2, 50, 16)).astype(np.float32) + 1


def test_the_same_is_alike(tokens):
    found = tokens_alike(tokens, tokens.copy())
    assert found.pooled == pytest.approx(1)
    assert found.worst == pytest.approx(1)
    assert (found.clips, found.tokens, found.agreement) == (2, 100, None)
    assert found.missed() == ""


def test_one_lost_token_is_seen_though_the_mean_hides_it(tokens):
    got = tokens.copy()
    got[1, 7] = -got[1, 7]
    found = tokens_alike(tokens, got)
    assert found.pooled > 0.99
    assert found.worst == pytest.approx(-1)
    assert "worst token's cosine" in found.missed(Limits(pooled=0.98))
    assert not found.figures()["passed"]


def test_a_shift_of_all_is_seen_by_the_mean(tokens):
    found = tokens_alike(tokens, tokens + np.float32(0.4) * tokens[:, :1])
    assert "pooled cosine" in found.missed()


def test_nan_is_as_bad_as_can_be(tokens):
    got = tokens.copy()
    got[0, 0, 0] = np.nan
    assert tokens_alike(tokens, got).worst == -1
    assert "pooled" in Accuracy(float("nan"), 1, 1, 1).missed()


def test_other_shapes_are_refused(tokens):
    with pytest.raises(ModelError, match="shape"):
        tokens_alike(tokens, tokens[:, :-1])


def test_choices_are_counted():
    pairs = [(clips(1, 4, 6, i), clips(1, 4, 6, 50 + i)) for i in range(4)]
    actions = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]

    def energies(start, goal, acts):
        return np.abs(acts[:, 0] - np.sign(start[0, 0, 0]))

    def plain(patches):
        return patches

    assert choices_alike(pairs, (plain, plain), energies, actions) == 1
    assert choices_alike(pairs, (plain, lambda p: -p), energies, actions) == 0


def test_clips_repeat_and_differ():
    a = clips(3, 20, 48)
    assert a.shape == (3, 20, 48)
    assert a.dtype == np.float32
    assert (a == clips(3, 20, 48)).all()
    assert (a[0] != a[1]).any()
    assert np.abs(a).max() < 5
