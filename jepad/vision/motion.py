"""What changed in a view since the frame before, and what is there that usually is not.

Owns: the difference of every cell, the background of every block, global changes of light, when a
frame is worth encoding. Does not know: who is in view, what is usual over minutes, a model.

Nothing here is learned: numpy, the same numbers for the same frames. Cells are the 16 × 16 pixels
of a token; blocks of 4 × 4 pixels say what stands out from the background.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from jepad.errors import SettingError
from jepad.vision import flow

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Why = Literal["first", "moving", "light", "refresh", "still"]

CELL = 16  # pixels a side, those of a token
BLOCK = flow.CELL  # pixels a side; as many blocks a side are in a cell
#: Sides of a view. Larger ones would cost more than the gate saves.
SMALLEST, LARGEST = 32, 1024
_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
_DARK = 8.0  # grey levels added before brightness is divided: what is black has no ratio
#: No noise is larger, in grey levels.
QUIET = 3.0
_FALL_S, _RISE_S = 2.0, 20.0
_DRIFT = 0.02  # of brightness: less than this is left to the background


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensing:
    """What counts as a change. Defaults: 224 pixels, 4 to 10 frames/s, compressed video."""

    changed: float = 4.0  # mean |difference| of a cell, grey levels
    noise: float = 4.0  # and this many times the cell's usual difference
    refresh_s: float = 30.0  # the gate opens at least this often; 0 = for every frame
    outstanding: float = 14.0  # a block's distance to its background, grey levels
    deviations: float = 5.0  # and in deviations of that block
    background_s: float = 20.0  # time constant of the background
    absorb_s: float = 60.0  # what stands still this long becomes background
    light: float = 0.06  # change of brightness of the whole view that is told
    flood: float = 0.6  # share of the blocks from which on a change is none of things

    def __post_init__(self) -> None:
        numbers = (self.changed, self.noise, self.refresh_s, self.outstanding, self.deviations)
        if not all(0 <= n < np.inf for n in (*numbers, self.background_s, self.absorb_s)):
            raise SettingError(f"sensing wants numbers from 0 on: {self}")
        if not (self.changed > 0 and self.background_s > 0 and 0 < self.flood <= 1):
            raise SettingError(
                f"sensing wants changed and background_s > 0, flood of 0 to 1: {self}"
            )


@dataclass(frozen=True, slots=True)
class Motion:
    """Of one frame; [R, C] are its cells."""

    score: Floats  # [R, C]: mean |difference| to the frame before, grey levels, light removed
    moving: Flags  # [R, C]: where that is more than this cell's noise
    foreground: Floats  # [R, C]: share of the blocks unlike their background
    flow: Floats  # [R, C, 2]: blocks down and right since the frame before; 0 where nothing moves
    light: bool  # brightness of the whole view changed; the scores are without it
    flood: bool  # most of the view is unlike it was, for no reason told here: scores say little
    gate: bool  # worth encoding
    why: Why

    @property
    def changed(self) -> float:
        """Share of the cells that move."""
        return float(self.moving.mean())

    @property
    def peak(self) -> float:
        """The largest score."""
        return float(self.score.max())


class Motions:
    """Of one camera, frame after frame. Not for several threads."""

    def __init__(self, size: int, how: Sensing = Sensing()) -> None:
        """`size`: pixels a side of the square frames, a multiple of 16."""
        if size % CELL or not SMALLEST <= size <= LARGEST:
            raise SettingError(
                f"a view of {size} pixels a side: give a multiple of {CELL} from {SMALLEST} to"
                f" {LARGEST}"
            )
        self.size, self.cells, self._how = size, size // CELL, how
        self.reset()

    def reset(self) -> None:
        """Forget all: the next frame is the first one."""
        self._before: Floats | None = None  # [S/2, S/2] of the last frame
        self._gated: Floats | None = None  # of the last frame that was let through
        self._time_s = self._gated_s = -np.inf
        self._ground = Background((self.size // BLOCK,) * 2, self._how)
        self._noise: Floats | None = None

    def see(self, frame: npt.NDArray[Any], t_s: float) -> Motion:
        """The newest frame, uint8 [S, S, 3], and its time. SettingError: of another shape or type,
        or earlier than the one before."""
        plane = self._plane(frame)
        step_s = self._since(t_s)
        fine = pooled(plane, BLOCK // 2)
        if self._before is None:
            return self._first(fine, t_s)
        before = self._before * brightness(fine, self._before)
        score = self._differences(fine, before)
        moving = score > self._limit(score, step_s)
        moved = flow.flow(pooled(before, 2), pooled(fine, 2), moving)
        ground, light, flood = self._ground.see(fine, moving, step_s)
        self._before = fine
        why = self._worth(fine, light or flood, t_s)
        if why != "still":
            self._gated, self._gated_s = fine, t_s
        return Motion(score, moving, ground, moved, light, flood, why != "still", why)

    def _plane(self, frame: npt.NDArray[Any]) -> Floats:
        if frame.dtype != np.uint8 or frame.shape != (self.size, self.size, 3):
            raise SettingError(
                f"a frame of {frame.dtype} {list(frame.shape)} in a view of uint8"
                f" [{self.size}, {self.size}, 3]"
            )
        grey: Floats = frame.astype(np.float32) @ _WEIGHTS
        return grey

    def _since(self, t_s: float) -> float:
        if not np.isfinite(t_s) or t_s < self._time_s:
            raise SettingError(f"a frame of {t_s} s after one of {self._time_s} s")
        step, self._time_s = t_s - self._time_s, t_s
        return step

    def _first(self, fine: Floats, t_s: float) -> Motion:
        self._before = self._gated = fine
        self._gated_s = t_s
        none = np.zeros((self.cells, self.cells), bool)
        foreground = self._ground.see(fine, none, 0.0).outstanding
        nothing = np.zeros(none.shape, np.float32)
        flat = np.zeros((*none.shape, 2), np.float32)
        return Motion(nothing, none, foreground, flat, False, False, True, "first")

    def _differences(self, fine: Floats, before: Floats) -> Floats:
        return pooled(np.abs(fine - before), CELL // (BLOCK // 2))

    def _limit(self, score: Floats, step_s: float) -> Floats:
        """What a cell must pass to move: far above its noise, that is, what it falls to again and
        again. It rises slowly and never above QUIET: what moves all the time is no noise."""
        seen = np.minimum(score, QUIET)
        noise = seen if self._noise is None else self._noise
        memory = np.where(seen < noise, _FALL_S, _RISE_S)
        self._noise = (noise + step_s / (step_s + memory) * (seen - noise)).astype(np.float32)
        limit: Floats = np.maximum(self._how.changed, self._how.noise * self._noise)
        self._least = limit
        return limit

    def _worth(self, fine: Floats, light: bool, t_s: float) -> Why:
        """Beside the last frame let through, so that slow changes add up."""
        assert self._gated is not None
        gated = self._gated * brightness(fine, self._gated)
        apart = self._differences(fine, gated)
        if (apart > self._least).any():
            return "moving"
        if light:
            return "light"
        return "refresh" if t_s - self._gated_s >= self._how.refresh_s else "still"


class Against(NamedTuple):
    """A frame beside the background."""

    outstanding: Floats  # [R, C]: share of each cell's blocks
    light: bool
    flood: bool


class Background:
    """Mean and variance of every block: exponential, frozen where something moves or stands out.

    What stands out without moving becomes background after `absorb_s`.
    """

    def __init__(self, shape: tuple[int, int], how: Sensing) -> None:
        self._how = how
        self._mean: Floats | None = None
        self._variance = np.full(shape, (how.outstanding / how.deviations / 2) ** 2, np.float32)
        self._stood_s = np.zeros(shape, np.float32)  # how long it has stood out, not moving
        self._seen_s = 0.0
        self._level = 1.0  # brightness beside that of the last change of light

    def see(self, fine: Floats, moving: Flags, step_s: float) -> Against:
        """The plane of two pixels a point, the moving cells [R, C], seconds since the last one."""
        blocks = pooled(fine, 2)
        if self._mean is None:
            self._mean = blocks
            return Against(np.zeros(moving.shape, np.float32), False, False)
        gain = brightness(blocks, self._mean)
        self._mean = self._mean * gain
        apart = _beyond(blocks, self._mean)
        limit = np.maximum(self._how.outstanding, self._how.deviations * np.sqrt(self._variance))
        out = apart > limit
        unlike = np.abs(blocks - self._mean) > limit
        if unlike.mean() > self._how.flood and out.mean() > self._how.flood / 3:
            self._mean, self._stood_s[:] = blocks, 0
            self._level = 1.0
            return Against(np.zeros(moving.shape, np.float32), False, True)
        self._learn(blocks, out, _widened(moving), step_s)
        return Against(pooled(out.astype(np.float32), BLOCK), self._told(gain), False)

    def _told(self, gain: float) -> bool:
        """Whether brightness has gone far enough from where it was last told."""
        self._level *= gain
        told = abs(self._level - 1) > self._how.light
        if told:
            self._level = 1.0
        return told

    def _learn(self, blocks: Floats, out: Flags, near: Flags, step_s: float) -> None:
        assert self._mean is not None
        self._seen_s += step_s
        near = near.repeat(BLOCK, 0).repeat(BLOCK, 1)
        self._stood_s = np.where(out & ~near, self._stood_s + step_s, 0)
        old = self._stood_s > self._how.absorb_s
        # At first a plain mean over what was seen, later an exponential one.
        memory = min(self._how.background_s, self._seen_s)
        rate = step_s / max(step_s + memory, 1e-9)
        apart = blocks - self._mean
        weight = np.where(out | near, 0, rate).astype(np.float32)
        self._mean = np.where(old, blocks, self._mean + weight * apart)
        self._variance += weight * (apart**2 - self._variance)
        self._stood_s[old] = 0


def pooled(plane: Floats, side: int) -> Floats:
    """Means of squares of `side` a side: [H, W] -> [H / side, W / side]."""
    height, width = plane.shape
    rows = np.add.reduce(plane.reshape(height // side, side, width), 1)
    whole = np.add.reduce(rows.reshape(height // side, width // side, side), 2)
    out: Floats = whole * np.float32(1 / side**2)
    return out


def brightness(now: Floats, before: Floats) -> float:
    """How many times as bright the view is as it was: what most of it says, and 1 where that is
    next to nothing."""
    few = (slice(None, None, 3), slice(None, None, 3))
    ratio = float(np.median((now[few] + _DARK) / (before[few] + _DARK)))
    return ratio if abs(ratio - 1) > _DRIFT else 1.0


def _beyond(blocks: Floats, mean: Floats) -> Floats:
    """How far each block is outside of what the background has there or one block beside it: what
    sways, and a camera that trembles, stay within."""
    wide = np.pad(mean, 1, mode="edge")
    rows = [wide[:-2], wide[1:-1], wide[2:]]
    low, high = np.minimum.reduce(rows), np.maximum.reduce(rows)
    low = np.minimum.reduce([low[:, :-2], low[:, 1:-1], low[:, 2:]])
    high = np.maximum.reduce([high[:, :-2], high[:, 1:-1], high[:, 2:]])
    apart: Floats = np.maximum(np.maximum(low - blocks, blocks - high), 0)
    return apart


def _widened(cells: Flags) -> Flags:
    """Cells and their neighbours."""
    out = cells.copy()
    out[1:] |= cells[:-1]
    out[:-1] |= cells[1:]
    across = out.copy()
    out[:, 1:] |= across[:, :-1]
    out[:, :-1] |= across[:, 1:]
    return out
