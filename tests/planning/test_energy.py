"""The measure of a plan, what it must not do, and its picture."""

import numpy as np
import pytest
import torch

from jepad.errors import NotFound, SettingError
from jepad.planning.bounds import DROID, TOY, Axis, Bounds, States
from jepad.planning.cem import Planner, Settings, plan
from jepad.planning.energy import (
    Survey,
    default_axes,
    forbidden,
    guarded,
    l1,
    prohibition,
    sliced,
)
from jepad.planning.pose import mover

YARD = Bounds("yard", TOY.axes, states=States("shift", (-0.3, -1.0), (0.3, 1.0)))
MOVE = mover(YARD, np, np.asarray)


def test_l1_is_the_mean_over_all_but_the_samples():
    found, goal = np.ones((3, 4, 5)), np.zeros((4, 5))
    found[1] = 3
    assert l1(found, goal).tolist() == [1, 3, 1]
    assert l1(torch.from_numpy(found), torch.from_numpy(goal[None])).tolist() == [1, 3, 1]


def test_states_outside_are_forbidden_on_the_way_too():
    start = np.zeros((1, 2))
    out_and_back = [[0.25, 0], [0.25, 0], [-0.25, 0]]
    inside = [[0.25, 0.9], [0.0, 0], [-0.25, 0]]
    found = forbidden(YARD, start, np.array([out_and_back, inside]), MOVE)
    assert found.tolist() == [True, False]


def test_walls_forbid_nothing():
    actions = np.full((2, 9, 2), 0.25)
    assert not forbidden(TOY, np.zeros((1, 2)), actions, mover(TOY, np, np.asarray)).any()
    energy = object()
    assert guarded(energy, TOY, None, None) is energy
    assert guarded(energy, DROID, None, None) is energy


@pytest.mark.parametrize("array", [np.asarray, torch.tensor])
def test_a_plan_keeps_inside(array):
    goal = array([0.5, 0.0])
    start = array([[0.25, 0.0]])
    energy = guarded(lambda a: l1(start + a.sum(1), goal), YARD, start, MOVE)
    drawn = Planner(YARD, Settings(samples=300, horizon=1), _Kind(array))
    found = plan(drawn, energy)
    assert 0.03 < found.action[0, 0] <= 0.05 + 1e-6


def beyond(low, dead_zone, **more):
    """A body on a line that must leave where it stands, 0, for `low` or more."""
    axes = (Axis("x", -1, 1, dead_zone=dead_zone, **more), Axis("y", -1, 1))
    return Bounds("claw", axes, states=States("shift", (low, -9.0), (9.0, 9.0)))


def sought(bounds, goal, array, settings, guard=True):
    start, move = array([[0.0, 0.0]]), mover(bounds, np, np.asarray)
    refused = prohibition(bounds, start, move)
    search = Planner(bounds, settings, _Kind(array), refused if guard else None)
    aim = array([goal, 0.0])
    found = plan(search, guarded(lambda a: l1(start + a.sum(1), aim), bounds, start, move))
    return found, bool(refused(array(found.action[None].tolist()))[0])


@pytest.mark.parametrize("array", [np.asarray, torch.tensor])
def test_what_a_dead_zone_leaves_keeps_inside(array):
    """The nearest to 0.15 that is allowed: less than 0.2 is done as nothing, and that isn't."""
    bounds = beyond(0.1, 0.2)
    assert sought(bounds, 0.15, array, Settings(samples=300, horizon=1), guard=False)[1]
    found, out = sought(bounds, 0.15, array, Settings(samples=300, horizon=1))
    assert not out
    assert 0.2 <= found.action[0, 0] < 0.25


def test_a_mean_still_on_its_way_gives_way_to_the_best_sample():
    bounds = beyond(0.5, 0.0, start=0.0)
    settings = Settings(samples=300, horizon=1, iterations=2, momentum=0.9)
    assert sought(bounds, 0.6, np.asarray, settings, guard=False)[1]
    found, out = sought(bounds, 0.6, np.asarray, settings)
    assert not out
    assert found.mean[0, 0] < 0.5
    assert found.action[0, 0] == pytest.approx(0.6, abs=0.05)


def test_no_plan_rather_than_a_forbidden_one():
    bounds = beyond(0.1, 0.2, spread=0.05)  # hardly a sample comes out of its dead zone
    with pytest.raises(NotFound, match="limits of the states"):
        sought(bounds, 0.15, np.asarray, Settings(samples=30, horizon=1))
    start, move = np.zeros((1, 2)), mover(bounds, np, np.asarray)
    search = Planner(bounds, forbidden=prohibition(bounds, start, move))
    with pytest.raises(NotFound, match="search on"):
        search.plan()


def test_nothing_to_forbid_is_no_prohibition():
    assert prohibition(TOY, None, None) is None
    assert prohibition(DROID, None, None) is None


def test_slices_are_the_whole():
    asked = []

    def energy(actions):
        asked.append(len(actions))
        return actions.sum((1, 2))

    actions = np.arange(14.0).reshape(7, 1, 2)
    assert sliced(energy, 3)(actions) == actions.sum((1, 2)).tolist()
    assert asked == [3, 3, 1]


def test_a_landscape_is_low_at_the_goal():
    survey = Survey(TOY, default_axes(TOY), 11)
    actions = survey.actions(np.full((2, 2), 0.1, np.float32))
    assert actions.shape == (121, 2, 2)
    assert (actions[:, 1] == np.float32(0.1)).all()
    found = survey.landscape(l1(actions[:, 0], np.array([-0.25, 0.25])))
    assert np.unravel_index(found.energies.argmin(), (11, 11)) == (0, 10)
    assert (found.axes, found.low, found.high) == (("dx", "dy"), (-0.25,) * 2, (0.25,) * 2)


@pytest.mark.parametrize(
    ("axes", "points"),
    [(("x", "y"), 1), (("x", "y"), 999), (("x", "x"), 9), (("x", "roll"), 9), (("x", "w"), 9)],
)
def test_a_landscape_without_sense_is_refused(axes, points):
    with pytest.raises(SettingError):
        Survey(DROID, axes, points)


def test_a_landscape_needs_two_axes():
    with pytest.raises(SettingError, match="only up"):
        default_axes(Bounds("hoist", (Axis("up", -1, 1), Axis("turn", fixed=0.0))))


class _Kind:
    def __init__(self, array):
        self._array, self._random = array, np.random.default_rng(0)

    def array(self, values):
        return self._array(values)

    def normal(self, *size):
        return self._array(self._random.standard_normal(size).tolist())
