"""How far an imagined end is from the goal: what a plan makes small.

Owns: the measure, states that a plan must not reach, slices of a batch, the picture of it over
two axes. Does not know: models, the search. Works on numpy and torch arrays alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jepad.errors import SettingError
from jepad.planning.bounds import Bounds

Array = Any
#: actions [S, H, A] -> energies [S]; infinite where they must not be taken.
Energy = Callable[[Array], Array]
#: (state [B, S], action [B, A]) -> state [B, S]
Move = Callable[[Array, Array], Array]
#: actions [S, H, A] -> [S], true where they must not be taken.
Forbidden = Callable[[Array], Array]


def l1(found: Array, goal: Array) -> Array:
    """mean |found - goal| of found [S, ...], goal [...] or [1, ...] -> [S]."""
    apart = abs(found - goal)
    return apart.reshape(len(apart), -1).mean(1)


def forbidden(bounds: Bounds, start: Array, actions: Array, move: Move) -> Array:
    """[S], true where a state on the way lies outside of what the bounds allow. start [1, S],
    actions [S, H, A]; walls forbid nothing."""
    states, out = bounds.states, actions[:, 0, 0] != actions[:, 0, 0]
    if states.low is None or states.high is None or states.walls:
        return out
    limits = list(zip(states.low, states.high, strict=True))
    state = start
    for step in range(actions.shape[1]):
        state = move(state, actions[:, step])
        for entry, (low, high) in enumerate(limits):
            out = out | (state[:, entry] < low) | (state[:, entry] > high)
    return out


def prohibition(bounds: Bounds, start: Array, move: Move) -> Forbidden | None:
    """`forbidden` from a start on, for a Planner; None where nothing is."""
    if bounds.states.low is None or bounds.states.walls:
        return None
    return lambda actions: forbidden(bounds, start, actions, move)


def guarded(energy: Energy, bounds: Bounds, start: Array, move: Move) -> Energy:
    """The energy, infinite for actions whose states leave what the bounds allow."""
    refused = prohibition(bounds, start, move)
    if refused is None:
        return energy

    def checked(actions: Array) -> Array:
        out = energy(actions)
        out[refused(actions)] = float("inf")
        return out

    return checked


def sliced(energy: Energy, most: int) -> Energy:
    """The energy asked of at most so many samples at once: where memory is short. A list."""

    def asked(actions: Array) -> list[float]:
        parts = (energy(actions[i : i + most]) for i in range(0, len(actions), most))
        return [value for part in parts for value in part.tolist()]

    return asked


@dataclass(frozen=True, slots=True)
class Landscape:
    """Energies of one step's action over two of its axes."""

    axes: tuple[str, str]
    low: tuple[float, float]
    high: tuple[float, float]
    energies: npt.NDArray[np.float32]  # [N, N], the first axis down, the second across


@dataclass(frozen=True, slots=True)
class Survey:
    """Which actions a landscape asks about: each axis from low to high in N steps.

    SettingError: an axis that isn't there or is fixed, fewer than 2 steps or more than 256.
    """

    bounds: Bounds
    axes: tuple[str, str]
    points: int

    def __post_init__(self) -> None:
        if not 2 <= self.points <= 256:
            raise SettingError(f"{self.points} points a side of a landscape: 2 to 256")
        if self.axes[0] == self.axes[1]:
            raise SettingError("a landscape is over two different axes")
        for name in self.axes:
            if not self.bounds.axes[self.bounds.index(name)].free:
                raise SettingError(f"axis {name} is fixed: it has no landscape")

    def actions(self, plan: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """plan [H, A] with another first step each: [N * N, H, A]."""
        found = [self.bounds.axes[self.bounds.index(name)] for name in self.axes]
        lines = [np.linspace(a.low, a.high, self.points, dtype=np.float32) for a in found]
        out = np.repeat(plan[None].astype(np.float32), self.points**2, 0)
        grid = np.meshgrid(*lines, indexing="ij")
        for name, values in zip(self.axes, grid, strict=True):
            out[:, 0, self.bounds.index(name)] = values.ravel()
        return out

    def landscape(self, energies: Array) -> Landscape:
        """Of the energies [N * N] of `actions`."""
        values = energies.tolist() if hasattr(energies, "tolist") else energies
        square = np.asarray(values, np.float32).reshape(self.points, self.points)
        first, second = (self.bounds.axes[self.bounds.index(name)] for name in self.axes)
        return Landscape(self.axes, (first.low, second.low), (first.high, second.high), square)


def default_axes(bounds: Bounds) -> tuple[str, str]:
    """The first two that are searched for. SettingError: fewer than two are."""
    free = [axis.name for axis in bounds.axes if axis.free]
    if len(free) < 2:
        raise SettingError(f"bounds {bounds.name} leave only {', '.join(free)} to choose")
    return free[0], free[1]
