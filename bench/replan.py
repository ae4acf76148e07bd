"""Golden cases of the planner, its random numbers stored: over a toy world, and over 2-AC.

Owns: how such a case is run, its settings in this planner's words. Does not know: files, how 2-AC
is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench import golden
from bench.golden import Case, Row
from jepad.jepa.video.rollout import Moment, World, rollout
from jepad.planning import energy, pose
from jepad.planning.bounds import Axis, Bounds, droid
from jepad.planning.cem import Planner, Settings

TOY = 1e-6
NETWORK = 1e-5
#: x, y, z and the gripper: what the stored numbers are of.
FREE = [0, 1, 2, 6]
#: Of Meta's function, where a call is silent.
DEFAULTS = {
    "momentum_mean": 0.25,
    "momentum_std": 0.95,
    "momentum_mean_gripper": 0.15,
    "momentum_std_gripper": 0.15,
    "topk": 10,
    "maxnorm": 0.05,
}
Floats = npt.NDArray[np.float32]


class Stored:
    """The numbers that a case's planner drew, as a planner here asks for them."""

    def __init__(self, draws: Floats) -> None:
        self._left = iter(draws)  # [H, S, 4] each

    def normal(self, samples: int, horizon: int, axes: int) -> Tensor:
        """[S, H, A]; nothing is drawn for what is fixed."""
        out = np.zeros((samples, horizon, axes), np.float32)
        out[..., FREE] = next(self._left).swapaxes(0, 1)
        return torch.from_numpy(out)

    def array(self, values: Any) -> Tensor:
        """As the search wants it."""
        return torch.as_tensor(values, dtype=torch.float32)


def toy(case: Case) -> Iterator[Row]:
    """A case of kind "cem_toy": plans, energies and the algebra of poses."""
    world = World(_toy(case), move)
    start = Moment(case.given("context_frame")[:, 0], case.given("context_pose")[:, 0])
    measured = measure(world, start, case.given("goal_frame")[0])
    yield from plans(case, measured, TOY)
    yield from candidates(case, world, start, measured)
    begun, ended = case.given("pose_start"), case.given("pose_end")
    moved = move(begun, case.given("pose_action"))
    yield golden.compare(case, "out/pose/compute_new_pose", moved, TOY)
    apart = pose.difference(begun, ended, torch)
    yield golden.compare(case, "out/pose/poses_to_diff", apart, TOY)


def measure(world: World, start: Moment, goal: Tensor) -> energy.Energy:
    """How far from the goal's tokens [1, K, D] actions end."""
    return lambda actions: energy.l1(rollout(world, start, actions)[-1].tokens, goal)


def plans(case: Case, measured: energy.Energy, tolerance: float) -> Iterator[Row]:
    """Every planner call of a case: means and spreads from the start on, energies, the action."""
    for call in case.config["cem_calls"]:
        yield from _planned(case, call, measured, tolerance)


def candidates(case: Case, world: World, start: Moment, measured: energy.Energy) -> Iterator[Row]:
    """Energies of stored actions, and where they lead."""
    actions = case.given("candidates")
    tolerance = TOY if case.kind == "cem_toy" else NETWORK
    yield golden.compare(case, "out/candidates/energy", measured(actions), tolerance)
    moments = rollout(world, start, actions)
    states = torch.stack([moment.state for moment in moments], 1)
    for name, found in (("final_frame", moments[-1].tokens), ("poses", states)):
        if (key := f"out/candidates/{name}") in case.arrays:
            yield golden.compare(case, key, found, tolerance)


def move(state: Tensor, action: Tensor) -> Tensor:
    """The arm's next pose."""
    moved: Tensor = pose.new_pose(state, action, torch)
    return moved


def _toy(case: Case) -> Callable[[Moment, Tensor, bool], tuple[Tensor, None]]:
    acts, lies = case.given("toy_M"), case.given("toy_b")

    def act(now: Moment, action: Tensor, keep: bool) -> tuple[Tensor, None]:
        del keep  # it has no past
        driven = torch.einsum("bk,knd->bnd", action, acts)
        held = torch.einsum("bk,knd->bnd", now.state, lies)
        return torch.tanh(0.9 * now.tokens + driven + held), None

    return act


def _planned(
    case: Case, call: Mapping[str, Any], measured: energy.Energy, tolerance: float
) -> Iterator[Row]:
    name = call["name"]
    asked = DEFAULTS | case.config.get("function_defaults", {}) | call["cem"]
    settings = Settings(
        samples=asked["samples"],
        elites=asked["topk"],
        iterations=asked["cem_steps"],
        horizon=asked["rollout"],
        momentum=asked["momentum_mean"],
        momentum_spread=asked["momentum_std"],
    )
    planner = Planner(_bounds(asked), settings, Stored(case.arrays[f"in/draws/{name}"]))
    steps = [planner.plan()]
    while not planner.done:
        planner.step(measured)
        steps.append(planner.plan())
    plan = steps[-1]
    found = {
        "mean": np.stack([step.mean for step in steps])[..., FREE],
        "std": np.stack([step.spread for step in steps])[..., FREE],
        "energies": np.array([one.energies for one in plan.rounds], np.float32),
        "action": plan.action.reshape(case.arrays[f"out/{name}/action"].shape),
    }
    for key, values in found.items():
        yield golden.compare(case, f"out/{name}/{key}", values, tolerance)


def _bounds(asked: Mapping[str, Any]) -> Bounds:
    """What Meta's function was called with, as data."""
    reach = asked["maxnorm"]
    axes = list(droid(reach).axes)
    kept = (asked["momentum_mean_gripper"], asked["momentum_std_gripper"])
    axes[6] = replace(axes[6], momentum=kept)
    for index, value in asked.get("axis", {}).items():
        axes[int(index)] = Axis(axes[int(index)].name, fixed=value, spread=reach)
    if (first := asked.get("close_gripper")) is not None:
        axes[6] = replace(axes[6], fixed=1.0, fixed_from=first, start=0.0)
    return Bounds("golden", tuple(axes))
