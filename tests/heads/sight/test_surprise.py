"""Surprise: what is usual in a place surprises nobody there, and elsewhere it does."""

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.heads.sight.surprise import MOST, Surprise, SurpriseLimits
from jepad.vision.motion import Motion

CELLS = (6, 6)
STEP_S = 0.5


def motion(score, light=False, why="moving"):
    flow = np.zeros((*CELLS, 2), np.float32)
    return Motion(score.astype(np.float32), score > 4, score * 0, flow, light, False, True, why)


def road(draws):
    """Much happens in the lower half, nothing in the upper."""
    score = draws.uniform(0.5, 1.5, CELLS)
    score[3:] += draws.uniform(0, 20, (3, 6))
    return score


@pytest.fixture
def watched():
    """What has seen two minutes of the road, and the time."""
    draws, surprise = np.random.default_rng(0), Surprise()
    for n in range(240):
        surprise.see(motion(road(draws)), n * STEP_S)
    return surprise, 120.0, draws


def test_nothing_surprises_before_enough_was_seen():
    surprise, draws = Surprise(), np.random.default_rng(0)
    for n in range(100):
        assert not surprise.see(motion(road(draws)), n * STEP_S).warm
    wild = surprise.see(motion(np.full(CELLS, 200.0)), 50.0)
    assert wild.score > 6
    assert not wild.surprising


def test_the_usual_does_not_surprise(watched):
    surprise, at, draws = watched
    scores = [surprise.see(motion(road(draws)), at + n * STEP_S) for n in range(60)]
    assert all(s.warm for s in scores)
    assert max(s.score for s in scores) < 4
    assert not any(s.surprising for s in scores)


def test_the_same_motion_elsewhere_does(watched):
    surprise, at, draws = watched
    found = []
    for n in range(8):
        score = road(draws)
        score[1, 1:4] = 15  # no more than on the road
        found.append(surprise.see(motion(score), at + n * STEP_S))
    assert found[0].score > 6
    assert not found[0].surprising  # it must last
    assert found[2].surprising


def test_it_ends_after_a_while_of_calm(watched):
    surprise, at, draws = watched
    strange = road(draws)
    strange[1, 1:4] = 40
    for n in range(3):
        surprise.see(motion(strange), at + n * STEP_S)
    assert surprise.surprising
    calm = [surprise.see(motion(road(draws)), at + (3 + n) * STEP_S) for n in range(12)]
    assert calm[2].surprising
    assert not calm[-1].surprising


def test_light_is_neither_told_nor_learned(watched):
    surprise, at, draws = watched
    for n in range(20):
        told = surprise.see(motion(np.full(CELLS, 200.0), light=True), at + n * STEP_S)
        assert (told.score, told.surprising) == (0, False)
    assert surprise.see(motion(road(draws)), at + 20 * STEP_S).score < 4


def test_what_goes_on_becomes_usual():
    surprise, draws = Surprise(SurpriseLimits(memory_s=60, warm_s=10)), np.random.default_rng(0)
    for n in range(240):
        surprise.see(motion(road(draws)), n * STEP_S)
    swapped = [surprise.see(motion(road(draws)[::-1]), 120 + n * STEP_S) for n in range(600)]
    assert swapped[0].score > 6
    assert swapped[-1].score < 4


def test_after_a_gap_what_is_usual_stays(watched):
    surprise, _, draws = watched
    surprise.resume()
    assert surprise.see(motion(road(draws)), 0.0).warm
    surprise.reset()
    assert not surprise.see(motion(road(draws)), 0.0).warm


def test_the_score_is_bounded_and_finite(watched):
    surprise, at, _ = watched
    assert surprise.see(motion(np.full(CELLS, 255.0)), at).score <= MOST
    one = Surprise()
    small = Motion(*(np.zeros((1, 1), t) for t in (np.float32, bool, np.float32)),
                   np.zeros((1, 1, 2), np.float32), False, False, True, "still")  # fmt: skip
    assert [one.see(small, float(n)).score for n in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("wrong", [{"begin": 1}, {"end": -1}, {"memory_s": 0}, {"warm_s": -1}])
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SettingError, match="surprise wants"):
        SurpriseLimits(**wrong)
