"""The golden planner runs: a world of one tanh, every number that Meta's planner drew."""

import json
from pathlib import Path

import numpy as np

from jepad.planning.bounds import Axis, Bounds
from jepad.planning.cem import Settings
from jepad.planning.energy import l1
from jepad.planning.pose import new_pose

HERE = Path(__file__).parents[1] / "fixtures" / "vjepa" / "cem_toy.npz"
CASE = dict(np.load(HERE))
ABOUT = json.loads(HERE.with_suffix(".json").read_text())["config"]
CALLS = ABOUT["cem_calls"]
FREE = [0, 1, 2, 6]  # x, y, z, gripper: what Meta's planner draws


class Replay:
    """The stored draws, iteration by iteration."""

    def __init__(self, name, array):
        self._left = iter(CASE[f"in/draws/{name}"])
        self.array = array

    def normal(self, samples, horizon, axes):
        out = np.zeros((samples, horizon, axes), np.float32)
        out[..., FREE] = next(self._left).swapaxes(0, 1)
        return self.array(out)


def settings_of(cem):
    usual = ABOUT["function_defaults"]
    return Settings(
        samples=cem["samples"],
        elites=cem.get("topk", usual["topk"]),
        iterations=cem["cem_steps"],
        horizon=cem["rollout"],
        momentum=cem.get("momentum_mean", usual["momentum_mean"]),
        momentum_spread=cem.get("momentum_std", usual["momentum_std"]),
    )


def bounds_of(cem):
    """Meta's arguments as bounds: `axis` fixes one, `close_gripper` says from which step on."""
    most, usual = cem.get("maxnorm", 0.05), ABOUT["function_defaults"]
    fixed = {int(axis): value for axis, value in cem.get("axis", {}).items()}
    moves = [
        Axis(name, -most, most, spread=most, fixed=fixed.get(i)) for i, name in enumerate("xyz")
    ]
    names = ("momentum_mean_gripper", "momentum_std_gripper")
    close = cem.get("close_gripper")
    gripper = Axis(
        "gripper",
        -0.75,
        0.75,
        spread=1.0,
        start=0.0,
        fixed=None if close is None else 1.0,
        fixed_from=close or 0,
        dead_zone=0.25,
        momentum=tuple(cem.get(name, usual[name]) for name in names),
    )
    turns = [Axis(name, fixed=0.0) for name in ("roll", "pitch", "yaw")]
    return Bounds("golden", (*moves, *turns, gripper))


def rolled(xp, array, actions):
    """The last frame and all poses after actions [S, H, 7]."""
    given = {name: array(CASE[f"in/{name}"]) for name in ("toy_M", "toy_b")}
    frame, pose = (array(CASE[f"in/context_{name}"])[:, 0] for name in ("frame", "pose"))
    pose = pose + 0 * actions[:, 0]
    poses = [pose]
    for step in range(actions.shape[1]):
        action = actions[:, step]
        pushed = (action[:, :, None, None] * given["toy_M"]).sum(1)
        placed = (poses[-1][:, :, None, None] * given["toy_b"]).sum(1)
        frame = xp.tanh(0.9 * frame + pushed + placed)
        poses.append(new_pose(poses[-1], action, xp))
    return frame, xp.stack(poses, 1)


def world(xp, array):
    """Meta's energy of the toy world."""
    goal = array(CASE["in/goal_frame"])[0, 0]
    return lambda actions: l1(rolled(xp, array, actions)[0], goal)
