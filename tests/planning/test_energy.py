"""The measure of a plan, what it must not do, and its picture."""

import numpy as np
import pytest
import torch

from jepad.errors import SettingError
from jepad.planning.bounds import DROID, TOY, Axis, Bounds, States
from jepad.planning.cem import Planner, Settings, plan
from jepad.planning.energy import Survey, default_axes, forbidden, guarded, l1, sliced
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
