"""On a made-up machine whose actions have plain effects: they are learned, nothing else changes."""

import numpy as np
import pytest
import torch

from jepad.errors import SettingError
from jepad.jepa.config import Shape
from jepad.jepa.world import WorldModel
from jepad.learn import effects, outcomes
from jepad.learn.batches import to_feeds
from jepad.learn.gym.episodes import read_manifest
from jepad.learn.twins import events
from tests.learn import machine

SMALL = Shape(width=32, heads=2, time_blocks=1, predictor_blocks=1)
PLAN = effects.Plan(steps=100)


@pytest.fixture(scope="module")
def gym(tmp_path_factory):
    directory = tmp_path_factory.mktemp("gym")
    machine.write(directory, range(25))
    return str(directory)


@pytest.fixture(scope="module")
def fitted(gym):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = WorldModel(SMALL)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    return model, before, effects.fit_effects(model, gym, 0, PLAN)


def test_effects_of_seeds_never_seen_are_foretold(gym, fitted):
    model, _, figures = fitted
    held = list(events(gym, [e for e in read_manifest(gym) if e.split == "held"]))
    lesson = effects.learnable(model, held)
    said = effects.foretell(model, model.effect.state_dict(), lesson.examples)
    told = outcomes.rows(effects.training(gym))
    found = outcomes.verdicts(told, lesson.told, said * lesson.told.unit[..., None])
    assert outcomes.overall(found)["ratio"] < 0.8
    assert figures["seeds"] == 20  # never those held out
    assert figures["left_out_seeds"]["ratio"] < 0.9


def test_only_the_head_learns(fitted):
    model, before, _ = fitted
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all(k.startswith("effect.") for k in changed)


def test_no_action_changes_nothing(gym, fitted):
    model = fitted[0]
    event = next(events(gym, read_manifest(gym)))
    feeds = to_feeds(event.prepared()[0])
    with torch.no_grad():
        told = model(feeds)
        idle = model(feeds._replace(action=torch.zeros_like(feeds.action)))
    assert told.effect.any()
    assert not idle.effect.any()
    assert torch.equal(told.quantiles, idle.quantiles)
    assert not torch.equal(told.z_hat, idle.z_hat)


def test_the_same_seed_learns_the_same(gym):
    heads = []
    happened = effects.training(gym)[:6]
    for _ in range(2):
        torch.manual_seed(1)
        model = WorldModel(SMALL)
        effects.fit_effects(model, happened, 3, effects.Plan(steps=3))
        heads.append(model.effect.state_dict())
    assert all(torch.equal(heads[0][k], heads[1][k]) for k in heads[0])


def test_rows_that_teach_nothing_weigh_nothing(gym):
    torch.manual_seed(0)
    lesson = effects.learnable(WorldModel(SMALL).eval(), effects.training(gym)[:4])
    weight = lesson.examples.weight.numpy()
    assert ((weight > 0) == np.isfinite(lesson.told.effect)).all()
    assert np.isfinite(weight).all()


def test_a_gym_without_twins_teaches_nothing(tmp_path):
    with pytest.raises(SettingError, match="no action with a twin"):
        effects.training(str(tmp_path))
