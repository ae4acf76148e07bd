"""How an action moves a state: poses of an arm, and things that are merely shifted.

Owns: the algebra of poses, extrinsic x-y-z angles. Does not know: models, plans. Works on any
array module `xp` that has numpy's names (numpy, torch), on whatever device its arrays are.

A pose [..., 7] is x, y, z, three angles in radians, gripper in 0 (open) to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jepad.errors import SettingError
from jepad.planning.bounds import Bounds

Array = Any
#: Nearer to straight up or down than this, two of the angles turn about the same axis.
_UPRIGHT = 1e-6


def new_pose(pose: Array, action: Array, xp: Any) -> Array:
    """pose [..., 7] after action [..., 7]: moved, turned by R(action) R(pose), the gripper kept in
    0 to 1. [..., 7]."""
    turned = angles(rotation(action[..., 3:6], xp) @ rotation(pose[..., 3:6], xp), xp)
    gripper = (pose[..., 6:] + action[..., 6:]).clip(0.0, 1.0)
    return xp.concatenate([pose[..., :3] + action[..., :3], turned, gripper], -1)


def difference(start: Array, end: Array, xp: Any) -> Array:
    """The action [..., 7] that leads from one pose to another; the gripper's part isn't clipped."""
    back = rotation(start[..., 3:6], xp).swapaxes(-1, -2)
    turned = angles(rotation(end[..., 3:6], xp) @ back, xp)
    parts = [end[..., :3] - start[..., :3], turned, end[..., 6:] - start[..., 6:]]
    return xp.concatenate(parts, -1)


def rotation(theta: Array, xp: Any) -> Array:
    """Angles [..., 3] about the fixed axes x, then y, then z -> matrices [..., 3, 3]."""
    sin, cos = xp.sin(theta), xp.cos(theta)
    sx, sy, sz = sin[..., 0], sin[..., 1], sin[..., 2]
    cx, cy, cz = cos[..., 0], cos[..., 1], cos[..., 2]
    rows = (
        xp.stack([cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx], -1),
        xp.stack([sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx], -1),
        xp.stack([-sy, cy * sx, cy * cx], -1),
    )
    return xp.stack(rows, -2)


def angles(matrix: Array, xp: Any) -> Array:
    """Of matrices [..., 3, 3]: what `rotation` takes, the middle one in ±π/2. Straight up or down
    only the sum of the others is known: then the last is 0."""
    level = (matrix[..., 0, 0] ** 2 + matrix[..., 1, 0] ** 2) ** 0.5
    upright = level < _UPRIGHT
    first = xp.arctan2(
        xp.where(upright, -matrix[..., 1, 2], matrix[..., 2, 1]),
        xp.where(upright, matrix[..., 1, 1], matrix[..., 2, 2]),
    )
    middle = xp.arctan2(-matrix[..., 2, 0], level)
    last = xp.arctan2(
        xp.where(upright, level * 0, matrix[..., 1, 0]),
        xp.where(upright, level * 0 + 1, matrix[..., 0, 0]),
    )
    return xp.stack([first, middle, last], -1)


def mover(bounds: Bounds, xp: Any, array: Callable[[Any], Array]) -> Callable[..., Array]:
    """The function (state [B, S], action [B, A]) -> state [B, S] that bounds speak of. `array`
    makes one of a list of numbers, on the device where states will be.

    SettingError: bounds of another number of axes than the motion has.
    """
    states = bounds.states
    if states.motion == "pose":
        if len(bounds.axes) != 7:
            raise SettingError(f"bounds {bounds.name}: a pose is moved by 7 axes")
        return lambda state, action: new_pose(state, action, xp)
    if not states.walls:
        return lambda state, action: state + action
    low, high = array(states.low), array(states.high)
    return lambda state, action: (state + action).clip(low, high)
