"""Ratios say what they should of a perfect, a lazy and a blind foretelling."""

import numpy as np
import pytest

from jepad.learn import outcomes
from jepad.learn.gym.episodes import read_manifest
from jepad.learn.twins import events
from tests.learn import machine


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    directory = tmp_path_factory.mktemp("gym")
    machine.write(directory, range(40))
    happened = list(events(str(directory), read_manifest(str(directory))))
    return [outcomes.rows([e for e in happened if e.episode.split == s]) for s in ("train", "held")]


def answers(asked, middle):
    return np.stack([middle - 1e-9, middle, middle + 1e-9], -1)


def test_what_an_action_does_is_told_from_what_it_does_not(halves):
    doing = outcomes.clear(halves[0])
    where = "native, 1 s"
    assert doing["freeze", "its cpu_usage", where].all()
    assert doing["memory.high", "psi.memory.some.total", where].all()
    assert not doing["freeze", "another cpu_usage", where].any()
    assert not doing["drop_caches", "its cpu_usage", where].any() if (
        "drop_caches", "its cpu_usage", where
    ) in doing else True  # fmt: skip


def test_the_truth_is_right_and_nothing_is_as_wrong_as_nothing(halves):
    told, asked = halves
    perfect = outcomes.overall(outcomes.verdicts(told, asked, answers(asked, asked.effect)))
    assert perfect["pooled"] == pytest.approx(0)
    assert perfect["coverage"] == 1
    nothing = outcomes.verdicts(told, asked, answers(asked, np.zeros_like(asked.effect)))
    assert [v.error for v in nothing] == [v.of_none for v in nothing]
    assert outcomes.overall(nothing)["coverage"] == 0


def test_the_mean_effect_is_even_with_itself(halves):
    told, asked = halves
    means = outcomes.mean_effects(told)
    middle = np.stack([means.get(k, np.zeros(4)) for k in asked.key])
    found = outcomes.overall(outcomes.verdicts(told, asked, answers(asked, middle)))
    assert found["ratio"] == found["median"] == pytest.approx(1)


def test_nothing_to_judge_is_no_number():
    assert np.isnan(outcomes.overall([])["ratio"])
