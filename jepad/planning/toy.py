"""The toy world: a disc on a plain square, pushed about between four walls.

Owns: its states, its pictures. Does not know: models, plans. numpy only.

A state is x, y in -1 to 1 (right and down), an action dx, dy of at most STEP each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jepad.errors import SettingError
from jepad.planning.bounds import TOY
from jepad.planning.pose import mover

Floats = npt.NDArray[np.float32]
SIDE = 64  # pixels
RADIUS = 7.0  # of the disc, in pixels
STEP = TOY.axes[0].high
#: A disc whose centre is nearer to the goal than this has arrived: two pixels.
ARRIVED = 2.0 / (SIDE / 2 - RADIUS)
_GROUND, _DISC = np.array([38, 44, 56], np.float32), np.array([240, 170, 60], np.float32)


def random_states(count: int, random: np.random.Generator) -> Floats:
    """[count, 2], anywhere in the square."""
    return random.uniform(-1, 1, (count, 2)).astype(np.float32)


def random_actions(count: int, random: np.random.Generator) -> Floats:
    """[count, 2], any that the bounds allow."""
    return random.uniform(-STEP, STEP, (count, 2)).astype(np.float32)


def step(state: npt.ArrayLike, action: npt.ArrayLike) -> Floats:
    """state [..., 2] after action [..., 2], which is cut to what the bounds allow.

    SettingError: numbers that are not finite, or not two.
    """
    pushed = np.clip(_pair(action, "action"), -STEP, STEP)
    moved: Floats = _MOVE(_pair(state, "state"), pushed)
    return moved


def render(state: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """state [..., 2] -> pictures [..., SIDE, SIDE, 3]; the disc's edge is smooth, so that a picture
    tells fractions of a pixel. SettingError as `step`."""
    centre = SIDE / 2 + _pair(state, "state") * (SIDE / 2 - RADIUS)
    pixels = np.arange(SIDE, dtype=np.float32) + 0.5
    across = pixels - centre[..., None, None, 0]
    down = pixels[:, None] - centre[..., None, None, 1]
    cover = np.clip(RADIUS + 0.5 - np.hypot(across, down), 0, 1)[..., None]
    return np.rint(_GROUND + cover * (_DISC - _GROUND)).astype(np.uint8)


def distance(state: npt.ArrayLike, goal: npt.ArrayLike) -> Floats:
    """[...], between centres; `ARRIVED` or less is there. SettingError as `step`."""
    apart: Floats = np.linalg.norm(_pair(state, "state") - _pair(goal, "goal"), axis=-1)
    return apart


def _array(values: Any) -> Floats:
    return np.asarray(values, np.float32)


def _pair(values: npt.ArrayLike, what: str) -> Floats:
    try:
        found = _array(values)
    except (TypeError, ValueError) as error:
        raise SettingError(f"a toy {what} is two numbers: {error}") from error
    if found.ndim < 1 or found.shape[-1] != 2:
        raise SettingError(f"a toy {what} is two numbers, not {list(found.shape)}")
    if not np.isfinite(found).all():
        raise SettingError(f"a toy {what} must be finite")
    return found


_MOVE = mover(TOY, np, _array)
