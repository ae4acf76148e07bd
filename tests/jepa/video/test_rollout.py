"""The loop over actions, in any arithmetic."""

import numpy as np
import torch

from bench import conformance, golden, replan
from jepad.jepa.target import normed
from jepad.jepa.video.action import Given
from jepad.jepa.video.rollout import Moment, World, rollout
from jepad.planning.bounds import TOY
from jepad.planning.cem import Draws, Planner, Settings, plan
from jepad.planning.energy import sliced
from tests.jepa.video.test_action import small


def counting(calls):
    """A world in numpy: tokens grow by the action's first value, the past counts moments."""

    def act(now, action, keep):
        calls.append((now.t, now.past, keep))
        past = (now.past or 0) + 1
        return now.tokens + action[:, :1, None], past if keep else None

    return World(act, lambda state, action: state + action)


def test_each_action_on_what_the_one_before_led_to():
    start = Moment(np.zeros((2, 3, 4)), np.zeros((2, 2)))
    actions = np.arange(12.0).reshape(2, 3, 2)
    moments = rollout(counting([]), start, actions)
    assert [m.t for m in moments] == [0, 1, 2, 3]
    np.testing.assert_array_equal(moments[2].tokens[1], np.full((3, 4), 6.0 + 8.0))
    np.testing.assert_array_equal(moments[3].state, actions.sum(1))


def test_the_past_grows_and_the_last_is_never_kept():
    calls = []
    start = Moment(np.zeros((1, 3, 4)), np.zeros((1, 2)), past=5, t=5)
    moments = rollout(counting(calls), start, np.zeros((1, 3, 2)))
    assert calls == [(5, 5, True), (6, 6, True), (7, 7, False)]
    assert all(m.past is None for m in moments)


def test_one_start_is_shared_by_many_actions():
    start = Moment(np.zeros((1, 3, 4)), np.ones((1, 2)))
    moments = rollout(counting([]), start, np.ones((5, 2, 2)))
    assert moments[0].tokens.shape == (1, 3, 4)
    assert moments[0].state.shape == (5, 2)
    assert moments[2].tokens.shape == (5, 3, 4)


def test_no_action_leads_nowhere():
    start = Moment(np.zeros((1, 3, 4)), np.ones((1, 2)))
    assert len(rollout(counting([]), start, np.zeros((1, 0, 2)))) == 1


def test_cached_is_the_same_as_computed_anew():
    torch.manual_seed(0)
    predictor = small()
    frame = predictor.shape.grid.frame
    start = Moment(normed(torch.randn(1, frame, 24)), torch.randn(1, 3))
    actions = torch.randn(4, 3, 2)
    world = World(predictor.act, lambda state, action: state + action.sum(1, keepdim=True))
    with torch.inference_mode():
        moments = rollout(world, start, actions)
        tokens = start.tokens.expand(4, -1, -1)
        states = torch.stack([m.state for m in moments], 1)
        for i in range(3):
            given = Given(actions[:, : i + 1], states[:, : i + 1])
            following = normed(predictor(tokens, given)[:, -frame:])
            torch.testing.assert_close(moments[i + 1].tokens, following, atol=1e-5, rtol=0)
            tokens = torch.cat([tokens, following], 1)


def test_metas_planner_over_a_toy_world():
    case = golden.load(golden.FIXTURES, "cem_toy")
    assert [row for row in conformance.compared(case) if not row.ok] == []


def test_a_plan_is_the_same_sampled_together_or_one_by_one():
    torch.manual_seed(0)
    predictor = small()
    frame = predictor.shape.grid.frame
    start = Moment(normed(torch.randn(1, frame, 24)), torch.randn(1, 2))
    predictor.state_encoder = torch.nn.Linear(2, 32)
    world = World(predictor.act, lambda state, action: (state + action).clip(-1, 1))
    measured = replan.measure(world, start, normed(torch.randn(1, frame, 24)))
    settings = Settings(samples=24, elites=4, iterations=3, horizon=2)
    with torch.inference_mode():
        together, alone = (
            plan(Planner(TOY, settings, Draws(7, torch.as_tensor)), each)
            for each in (measured, sliced(measured, 1))
        )
    assert [one.elites for one in together.rounds] == [one.elites for one in alone.rounds]
    np.testing.assert_allclose(together.action, alone.action, atol=1e-6)
