"""A plan by the cross-entropy method: actions are drawn, the best few say where to draw next.

Owns: the search, one iteration at a time. Does not know: models, what an energy measures, where
arrays live: they come from the draws and stay what they are (numpy, torch on any device).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, isnan
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from jepad.errors import JepadError, ModelError, NotFound, SettingError
from jepad.planning.bounds import Bounds
from jepad.planning.energy import Energy, Forbidden

Array = Any
_MOST_SAMPLES, _MOST_ITERATIONS, _MOST_HORIZON = 65_536, 1_000, 64
_TINY = 1e-30  # in place of zero, to divide by


@dataclass(frozen=True, slots=True)
class Settings:
    """Of a search; the defaults are V-JEPA 2-AC's."""

    samples: int = 400  # actions tried an iteration
    elites: int = 10  # the best, which say where to draw next
    iterations: int = 10
    horizon: int = 2  # steps of a plan
    momentum: float = 0.15  # share of the old mean in the new
    momentum_spread: float | None = None  # share of the old spread; default as the mean's
    seed: int = 0  # of the draws

    def __post_init__(self) -> None:
        if not 2 <= self.elites <= self.samples <= _MOST_SAMPLES:
            raise SettingError(
                f"{self.elites} elites of {self.samples} samples: at least 2, at most all of them,"
                f" of at most {_MOST_SAMPLES}"
            )
        if not 1 <= self.iterations <= _MOST_ITERATIONS:
            raise SettingError(f"{self.iterations} iterations: 1 to {_MOST_ITERATIONS}")
        if not 1 <= self.horizon <= _MOST_HORIZON:
            raise SettingError(f"a horizon of {self.horizon} steps: 1 to {_MOST_HORIZON}")
        if not 0 <= self.momentum < 1 or not 0 <= self.spread_momentum < 1:
            raise SettingError("a momentum is at least 0 and less than 1")

    @property
    def spread_momentum(self) -> float:
        """Share of the old spread in the new."""
        return self.momentum if self.momentum_spread is None else self.momentum_spread


class Drawing(Protocol):
    """Where standard normal numbers come from, and what kind of arrays a search works on."""

    def normal(self, samples: int, horizon: int, axes: int) -> Array:
        """[samples, horizon, axes] of one iteration."""

    def array(self, values: Any) -> Array:
        """Nested lists of numbers as an array of that kind."""


class Draws:
    """Drawn by numpy from a seed, so that a seed means the same plan on every device.

    `array` makes what the search works on: by default numpy's float32; for torch
    `lambda values: torch.as_tensor(values, dtype=torch.float32, device=device)`.
    """

    def __init__(self, seed: int = 0, array: Callable[[Any], Array] | None = None) -> None:
        self._random = np.random.default_rng(seed)
        self._array = array

    def normal(self, samples: int, horizon: int, axes: int) -> Array:
        """[samples, horizon, axes], standard normal."""
        return self.array(self._random.standard_normal((samples, horizon, axes), np.float32))

    def array(self, values: Any) -> Array:
        """As an array of the search."""
        numbers = np.asarray(values, np.float32)
        return numbers if self._array is None else self._array(numbers)


class Round(NamedTuple):
    """What one iteration found."""

    mean: npt.NDArray[np.float32]  # [H, A], after it
    spread: npt.NDArray[np.float32]  # [H, A]
    energies: list[float]  # [S], of all samples
    elites: list[int]  # indices of the best, best first


@dataclass(frozen=True, slots=True)
class Plan:
    """What was found; the first row of `action` is what to do now."""

    #: [H, A], the mean within the limits, with its dead zones; the best sample as it would be
    #: done, where that mean leads to a state that is forbidden.
    action: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]  # [H, A]
    spread: npt.NDArray[np.float32]  # [H, A]
    energies: list[float]  # the lowest of each iteration
    names: tuple[str, ...]  # of the axes
    rounds: tuple[Round, ...]
    finished: bool  # False: cancelled before its last iteration


class Limits:
    """Bounds as arrays: what is done to numbers drawn before they are actions."""

    def __init__(self, bounds: Bounds, horizon: int, drawing: Drawing) -> None:
        steps, axes, array = range(horizon), bounds.axes, drawing.array
        self._low = array([axis.low for axis in axes])
        self._high = array([axis.high for axis in axes])
        self._dead = array([axis.dead_zone for axis in axes])
        self._least = array([[axis.least(step) for axis in axes] for step in steps])
        held = [[axis.held(step) for axis in axes] for step in steps]
        self._free = array([[float(x is None) for x in row] for row in held])
        self._held = array([[x or 0.0 for x in row] for row in held])
        self._norms = [
            (array([float(axis.name in norm.axes) for axis in axes]), norm.most)
            for norm in bounds.norms
        ]

    def __call__(self, actions: Array) -> Array:
        """actions [S, H, A], each within low and high, together within their norms, and fixed
        where fixed."""
        return self._shrunk(actions.clip(self._low, self._high) * self._free + self._held)

    def end(self, mean: Array) -> Array:
        """The same of a mean, which may still be on its way to what is fixed."""
        within = mean.clip(self._low, self._high)
        return self._shrunk(within * self._free + mean * (1 - self._free))

    def done(self, actions: Array) -> Array:
        """Actions as a body does them: its dead zones are zero."""
        return actions * (abs(actions) >= self._dead)

    def _shrunk(self, actions: Array) -> Array:
        """What is free drawn towards its least until the norms hold; the fixed part stays."""
        least = self._least * self._free + actions * (1 - self._free)
        for of, most in self._norms:
            base, way = least * (of / most), (actions - least) * (of / most)
            room = (1 - (base**2).sum(-1)[..., None]).clip(0.0, None)
            along, square = (base * way).sum(-1)[..., None], (way**2).sum(-1)[..., None]
            # The root of |base + share * way| = 1, or all of it where that is beyond.
            beyond = (along + (along**2 + square * room) ** 0.5).clip(_TINY, None)
            share = (room / beyond).clip(None, 1.0)
            actions = actions * (of * share + (1 - of)) + least * (of * (1 - share))
        return actions


class Planner:
    """A search, one iteration at a time: `ask` for actions, `tell` their energies, until `done`.

    `forbidden` (`energy.prohibition`) is asked about actions as they would be done: of samples, and
    of what comes out. A plan can be read off after any iteration. Pure arithmetic: it may be
    dropped at any time.
    """

    def __init__(
        self,
        bounds: Bounds,
        settings: Settings = Settings(),
        drawing: Drawing | None = None,
        forbidden: Forbidden | None = None,
    ) -> None:
        self.bounds, self.settings = bounds, settings
        self._drawing = drawing or Draws(settings.seed)
        array, axes, steps = self._drawing.array, bounds.axes, range(settings.horizon)
        self._limits = Limits(bounds, settings.horizon, self._drawing)
        self._mean = array([[axis.mean(step) for axis in axes] for step in steps])
        self._spread = array([[axis.deviation for axis in axes]] * len(steps))
        usual = (settings.momentum, settings.spread_momentum)
        shares = [axis.momentum or usual for axis in axes]
        self._keep_mean = array([mean for mean, _ in shares])
        self._keep_spread = array([spread for _, spread in shares])
        self._forbidden = forbidden
        self._asked: Array = None
        self._lowest: tuple[float, Array] = (inf, None)  # the best sample of all, [H, A]
        self._rounds: list[Round] = []

    @property
    def iteration(self) -> int:
        """How many are behind us."""
        return len(self._rounds)

    @property
    def done(self) -> bool:
        """Whether all of them are."""
        return self.iteration >= self.settings.iterations

    @property
    def energies(self) -> list[float]:
        """The lowest of each iteration so far."""
        return [found.energies[found.elites[0]] for found in self._rounds]

    def ask(self) -> Array:
        """The next actions to try, [S, H, A]; the same until they are told."""
        if self._asked is None:
            size = (self.settings.samples, self.settings.horizon, len(self.bounds.axes))
            drawn = self._drawing.normal(*size)
            self._asked = self._limits(drawn * self._spread + self._mean)
        return self._asked

    def tell(self, energies: Any) -> None:
        """The energies [S] of what was asked: any array, or a list. Infinite ones are refused.

        JepadError: not one a sample. ModelError: not a number. NotFound: no two may be taken.
        """
        if self._asked is None:
            raise JepadError("a search was told energies that it had not asked for")
        values = [
            float(x) for x in (energies.tolist() if hasattr(energies, "tolist") else energies)
        ]
        elites = self._best(values)
        best = self._asked[elites]
        if values[elites[0]] < self._lowest[0]:
            self._lowest = (values[elites[0]], best[0])
        mean = best.mean(0)
        spread = (((best - mean) ** 2).sum(0) / (len(elites) - 1)) ** 0.5
        self._mean = mean * (1 - self._keep_mean) + self._mean * self._keep_mean
        self._spread = spread * (1 - self._keep_spread) + self._spread * self._keep_spread
        self._asked = None
        self._rounds.append(Round(_plain(self._mean), _plain(self._spread), values, elites))

    def step(self, energy: Energy) -> float:
        """One iteration with an energy at hand; the lowest found in it."""
        self.tell(energy(self.ask()))
        return self.energies[-1]

    def plan(self) -> Plan:
        """The best guess so far. NotFound: whatever was found, the states forbid it."""
        return Plan(
            action=_plain(self._end()),
            mean=_plain(self._mean),
            spread=_plain(self._spread),
            energies=self.energies,
            names=self.bounds.names,
            rounds=tuple(self._rounds),
            finished=self.done,
        )

    def _end(self) -> Array:
        """The mean as it would be done, or the best sample, which was asked about already."""
        done = self._limits.done(self._limits.end(self._mean))
        if self._forbidden is None or not bool(self._forbidden(done[None])[0]):
            return done
        if self._lowest[1] is None:
            raise NotFound("no plan yet that keeps to the limits of the states: search on")
        return self._limits.done(self._lowest[1])

    def _best(self, energies: list[float]) -> list[int]:
        """Indices of the elites, best first; of equals the earlier."""
        if len(energies) != self.settings.samples:
            raise JepadError(f"{len(energies)} energies of {self.settings.samples} samples")
        if any(isnan(energy) for energy in energies):
            raise ModelError("an energy that is not a number: the model is broken or its input is")
        if self._forbidden is not None:
            refused = self._forbidden(self._limits.done(self._asked)).tolist()
            energies = [inf if no else x for no, x in zip(refused, energies, strict=True)]
        order = sorted(range(len(energies)), key=energies.__getitem__)
        elites = [i for i in order[: self.settings.elites] if isfinite(energies[i])]
        if len(elites) < 2:
            raise NotFound(
                "no plan keeps to the limits of the states: widen them, or draw more samples"
            )
        return elites


def plan(
    planner: Planner, energy: Energy, progress: Callable[[int, int, float], bool] | None = None
) -> Plan:
    """Search to the end. `progress` is told iterations done, of how many, and the lowest energy
    after each one; False ends the search there."""
    while not planner.done:
        lowest = planner.step(energy)
        going = progress is None or progress(planner.iteration, planner.settings.iterations, lowest)
        if not going:
            break
    return planner.plan()


def _plain(array: Array) -> npt.NDArray[np.float32]:
    """Any array's numbers, on the host."""
    return np.asarray(array.tolist(), np.float32)
