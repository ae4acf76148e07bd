"""Whether somebody is in view: arrived, still there, left.

Owns: size, travel, dwell and hysteresis. Does not know: pixels, people (a car or a dog of that size
counts as well: nothing here is learned), who is told.

To arrive, something as large as a person far away must stand out from the background, move, and
travel: a lamp that flickers and a tree in the wind stay where they are. To leave, it must be gone:
who sits still is present until the background has taken them in (`Sensing.absorb_s`).

The limits were chosen on one film of six people who come and go one by one (each arrival told once,
0.2 to 0.8 s late, each leaving 0.9 to 2 s late, nothing else told, at 4 and at 8 frames/s), on
cars and pedestrians from above, and on still pictures with added noise, lamps, sway and tremor. A
screen that shows moving pictures is somebody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from jepad.errors import SettingError
from jepad.vision.motion import Motion

Event = Literal["", "arrived", "left"]
Floats = npt.NDArray[np.float32]

_SOLID = 0.2  # share of a cell's blocks from which on it belongs to its neighbours' thing
_BESIDE = tuple((r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c)


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceLimits:
    """Sizes are in cells (16 × 16 pixels), summed over three by three of them."""

    arrive: float = 1.0  # so much stands out where it moves
    leave: float = 0.5  # less than this stands out anywhere
    dwell_s: float = 0.5  # this long, before somebody has arrived
    travel: float = 1.0  # cells between where it was first seen and where it is
    reach: float = 4.0  # cells from frame to frame: what is farther is something else
    lost_s: float = 1.0  # what isn't seen this long starts anew
    absent_s: float = 1.5  # nothing stands out this long, before somebody has left

    def __post_init__(self) -> None:
        times = (self.dwell_s, self.travel, self.lost_s, self.absent_s)
        if not (0 < self.leave <= self.arrive < np.inf and self.reach > 0):
            raise SettingError(f"presence wants 0 < leave ≤ arrive and reach > 0: {self}")
        if not all(0 <= n < np.inf for n in times):
            raise SettingError(f"presence wants times and travel from 0 on: {self}")


@dataclass(frozen=True, slots=True)
class Somebody:
    """What is held of one frame."""

    present: bool
    score: float  # 0..1: how much stands out, beside what presence asks for
    event: Event


class _Trail(NamedTuple):
    """Something that moves, followed from where it was first seen."""

    start_s: float
    seen_s: float
    start: Floats  # [2], cells
    at: Floats  # [2]
    far: float  # cells, the farthest it was from its start


class Presence:
    """Of one camera. Not for several threads."""

    def __init__(self, limits: PresenceLimits = PresenceLimits()) -> None:
        self._limits = limits
        self.reset()

    def reset(self) -> None:
        """Nobody is in view, and nothing is being followed."""
        self.present = False
        self._trail: _Trail | None = None
        self._last_s = -np.inf  # when something stood out last

    def see(self, motion: Motion, t_s: float) -> Somebody:
        """The newest frame's motion and time."""
        if motion.flood:  # a lamp, a cut, a camera that was turned: nothing can be followed
            self._trail = None
            self._last_s = t_s if self.present else self._last_s
            return Somebody(self.present, float(self.present), "")
        around = _around(motion.foreground)
        size = float(around.max())
        self._follow(motion, around, t_s)
        if size >= self._limits.leave:
            self._last_s = t_s
        return Somebody(*self._held(t_s, min(size / self._limits.arrive, 1.0)))

    def _held(self, t_s: float, score: float) -> tuple[bool, float, Event]:
        before = self.present
        if not before and self._arrived():
            self.present = True
        elif before and t_s - self._last_s >= self._limits.absent_s:
            self.present, self._trail = False, None
        changed: Event = "arrived" if self.present else "left"
        return self.present, score, changed if self.present != before else ""

    def _arrived(self) -> bool:
        trail, limits = self._trail, self._limits
        if trail is None:
            return False
        return trail.seen_s - trail.start_s >= limits.dwell_s and trail.far >= limits.travel

    def _follow(self, motion: Motion, around: Floats, t_s: float) -> None:
        """The largest thing that moves goes on with the trail, or begins one."""
        trail, limits = self._trail, self._limits
        if trail is not None and t_s - trail.seen_s > limits.lost_s:
            trail = self._trail = None
        moving = np.where(_around(motion.moving.astype(np.float32)) > 0, around, 0)
        if moving.max() < limits.arrive:
            return
        at = _centre(motion.foreground, int(moving.argmax()))
        if trail is None or np.hypot(*(at - trail.at)) > limits.reach:
            self._trail = _Trail(t_s, t_s, at, at, 0.0)
            return
        far = max(trail.far, float(np.hypot(*(at - trail.start))))
        self._trail = trail._replace(seen_s=t_s, at=at, far=far)


def _around(cells: Floats) -> Floats:
    """Sums over each cell and its eight neighbours."""
    rows, columns = cells.shape
    wide = np.pad(cells, 1)
    total = np.zeros_like(cells)
    for row in range(3):
        for column in range(3):
            total += wide[row : row + rows, column : column + columns]
    return total


def _centre(weight: Floats, index: int) -> Floats:
    """The centre of what stands out and is connected with a cell: what flickers in its place has
    one that stays."""
    rows, columns = weight.shape
    part, next_ones = {index}, [index]
    solid = weight.ravel() >= _SOLID
    while next_ones:
        row, column = divmod(next_ones.pop(), columns)
        for down, across in _BESIDE:
            at = (row + down) * columns + column + across
            inside = 0 <= row + down < rows and 0 <= column + across < columns
            if inside and at not in part and solid[at]:
                part.add(at)
                next_ones.append(at)
    cells = np.array(sorted(part))
    share = np.maximum(weight.ravel()[cells], 1e-6)
    places = np.stack(np.divmod(cells, columns), 1)
    centre: Floats = ((places * share[:, None]).sum(0) / share.sum()).astype(np.float32)
    return centre
