"""The search against Meta's, draw by draw, and what a search must hold whatever the energy."""

import numpy as np
import pytest
import torch

from jepad.errors import JepadError, ModelError, NotFound, SettingError
from jepad.planning.bounds import DROID, TOY, Axis, Bounds, Norm, droid
from jepad.planning.cem import Draws, Planner, Settings, plan
from jepad.planning.energy import l1, sliced
from jepad.planning.pose import new_pose
from tests.planning.golden import CALLS, CASE, FREE, Replay, bounds_of, settings_of, world

NUMPY = (np, lambda values: np.asarray(values, np.float32))
TORCH = (torch, lambda values: torch.as_tensor(np.asarray(values, np.float32)))


@pytest.fixture(params=[NUMPY, TORCH], ids=["numpy", "torch"])
def kind(request):
    return request.param


@pytest.mark.parametrize("call", CALLS, ids=[call["name"] for call in CALLS])
def test_every_iteration_is_metas(call, kind):
    found = plan(_planner(call, kind), world(*kind))
    name = f"out/{call['name']}"
    assert np.abs(found.action - CASE[f"{name}/action"][0]).max() <= 1e-6
    for i, one in enumerate(found.rounds):
        assert np.abs(one.mean[:, FREE] - CASE[f"{name}/mean"][i + 1]).max() <= 1e-6
        assert np.abs(one.spread[:, FREE] - CASE[f"{name}/std"][i + 1]).max() <= 1e-6
        assert np.abs(one.energies - CASE[f"{name}/energies"][i]).max() <= 1e-6


def test_the_stored_candidates_have_metas_energies(kind):
    found = world(*kind)(kind[1](CASE["in/candidates"]))
    assert np.abs(np.asarray(found.tolist()) - CASE["out/candidates/energy"]).max() <= 1e-6


def test_one_sample_at_a_time_makes_the_same_choices(kind):
    whole = plan(_planner(CALLS[1], kind), world(*kind))
    alone = plan(_planner(CALLS[1], kind), sliced(world(*kind), 1))
    assert [one.elites for one in whole.rounds] == [one.elites for one in alone.rounds]
    assert np.abs(whole.action - alone.action).max() <= 1e-6


def test_a_wrong_momentum_is_found_out():
    """The tolerance above tells: a search that keeps a little more of the old mean fails it."""
    call = CALLS[0]
    cem = {**call["cem"], "momentum_mean": 0.16}
    found = plan(_planner({**call, "cem": cem}, NUMPY), world(*NUMPY))
    assert np.abs(found.action - CASE[f"out/{call['name']}/action"][0]).max() > 1e-5


def test_a_seed_is_the_same_plan_in_numpy_and_torch():
    plans = []
    for xp, array in (NUMPY, TORCH):
        settings = Settings(samples=64, iterations=4, seed=5)
        plans.append(plan(Planner(DROID, settings, Draws(5, array)), world(xp, array)))
    assert np.abs(plans[0].action - plans[1].action).max() <= 1e-5
    assert plans[0].rounds[0].elites == plans[1].rounds[0].elites


def test_it_finds_the_lowest_point():
    goal = np.array([0.1, -0.2], np.float32)
    search = Planner(TOY, Settings(samples=100, iterations=12, horizon=1))
    found = plan(search, lambda actions: l1(actions[:, 0], goal))
    assert np.abs(found.action[0] - goal).max() < 0.01
    assert found.finished
    assert found.names == ("dx", "dy")
    assert found.energies[-1] < found.energies[0]


def test_progress_is_told_and_may_end_it():
    told = []

    def progress(done, of, lowest):
        told.append((done, of, lowest))
        return done < 3

    found = plan(Planner(TOY), lambda actions: abs(actions).sum((1, 2)), progress)
    assert [(done, of) for done, of, _ in told] == [(1, 10), (2, 10), (3, 10)]
    assert not found.finished
    assert found.energies == [lowest for _, _, lowest in told]


def test_asking_twice_draws_once():
    search = Planner(TOY)
    assert search.ask() is search.ask()
    first = search.ask()
    search.tell(abs(first).sum((1, 2)))
    assert search.ask() is not first


def test_samples_keep_to_the_bounds():
    bounds = Bounds(
        "arm",
        (Axis("x", -1, 1, spread=9), Axis("y", -1, 2, spread=9), Axis("z", fixed=0.5)),
        (Norm(("x", "y"), 1.2),),
    )
    asked = Planner(bounds, Settings(samples=500, horizon=3)).ask()
    assert asked.shape == (500, 3, 3)
    assert asked[..., 0].min() >= -1
    assert np.linalg.norm(asked[..., :2], axis=-1).max() <= 1.2 + 1e-6
    assert (asked[..., 2] == 0.5).all()


@pytest.mark.parametrize("array", [NUMPY[1], TORCH[1]], ids=["numpy", "torch"])
def test_a_norm_counts_what_is_fixed(array):
    bounds = Bounds(
        "arm",
        (Axis("x", -1, 1, spread=9), Axis("y", fixed=0.3), Axis("z", 0.1, 1, spread=9)),
        (Norm(("x", "y"), 0.5), Norm(("x", "y", "z"), 0.6)),
    )
    settings = Settings(samples=500, horizon=2)
    search = Planner(bounds, settings, Draws(0, array))
    asked = np.asarray(search.ask())
    length = np.linalg.norm(asked, axis=-1)
    assert np.linalg.norm(asked[..., :2], axis=-1).max() <= 0.5 + 1e-6
    assert length.max() <= 0.6 + 1e-6
    assert (length > 0.6 - 1e-6).mean() > 0.3  # drawn to the limit, no further
    assert (asked[..., 1] == np.float32(0.3)).all()
    assert asked[..., 2].min() >= 0.1 - 1e-7
    found = plan(search, lambda actions: -abs(actions).sum((1, 2)))
    assert np.linalg.norm(found.action, axis=-1).max() <= 0.6 + 1e-6


def test_a_norm_that_leaves_nothing_leaves_the_least():
    bounds = Bounds("arm", (Axis("x", -1, 1), Axis("y", fixed=0.5)), (Norm(("x", "y"), 0.5),))
    assert (Planner(bounds).ask() == np.array([0, 0.5], np.float32)).all()


def test_a_mean_to_begin_with_is_held_to_the_norm_at_the_end():
    axes = (Axis("x", -1, 1, start=1.0), Axis("y", -1, 1, start=1.0))
    search = Planner(Bounds("far", axes, (Norm(("x", "y"), 1.0),)), Settings(momentum=0.9))
    search.step(lambda actions: abs(actions).sum((1, 2)))
    assert np.linalg.norm(search.plan().mean, axis=-1).min() > 1.1
    assert np.linalg.norm(search.plan().action, axis=-1).max() <= 1 + 1e-6


def test_a_norm_that_holds_changes_nothing():
    loose = Bounds("loose", TOY.axes, (Norm(("dx", "dy"), 10.0),))
    assert np.array_equal(Planner(loose).ask(), Planner(TOY).ask())


def test_a_dead_zone_does_nothing_rather_than_a_little():
    bounds = Bounds("claw", (Axis("close", -1, 1, dead_zone=0.25), Axis("x", -1, 1)))
    goal = np.array([0.2, 0.2], np.float32)
    found = plan(Planner(bounds, Settings(horizon=1)), lambda a: l1(a[:, 0], goal))
    assert found.action[0, 0] == 0
    assert found.mean[0, 0] == pytest.approx(0.2, abs=0.02)
    assert found.action[0, 1] == pytest.approx(0.2, abs=0.02)


def test_what_is_infinite_is_never_an_elite():
    def energy(actions):
        out = abs(actions).sum((1, 2))
        out[actions[:, 0, 0] < 0.1] = np.inf
        return out

    search = Planner(TOY, Settings(samples=200, horizon=1))
    found = plan(search, energy)
    assert found.action[0, 0] >= 0.09
    assert all(np.isfinite(found.energies))


def test_energies_that_mean_nothing_are_errors():
    search = Planner(TOY)
    with pytest.raises(JepadError, match="had not asked"):
        search.tell([1.0])
    search.ask()
    with pytest.raises(JepadError, match="3 energies of 400"):
        search.tell([1.0, 2.0, 3.0])
    with pytest.raises(ModelError, match="not a number"):
        search.tell([float("nan")] + [1.0] * 399)
    with pytest.raises(NotFound, match="limits of the states"):
        search.tell([float("inf")] * 400)
    assert search.iteration == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"elites": 1},
        {"elites": 500},
        {"samples": 10**6},
        {"iterations": 0},
        {"horizon": 0},
        {"horizon": 65},
        {"momentum": 1.0},
        {"momentum_spread": -0.1},
    ],
)
def test_settings_that_make_no_search_are_refused(wrong):
    with pytest.raises(SettingError):
        Settings(**wrong)


def test_droid_is_metas_default():
    assert droid(0.05) == DROID
    pose = np.zeros((1, 7), np.float32)
    assert new_pose(pose, Planner(DROID).ask()[:, 0], np).shape == (400, 7)


def _planner(call, kind):
    return Planner(bounds_of(call["cem"]), settings_of(call["cem"]), Replay(call["name"], kind[1]))
