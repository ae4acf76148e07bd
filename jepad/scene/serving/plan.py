"""A plan towards a goal, one iteration of the search at a time.

Owns: what a plan is asked with, its energy, its result in words of the wire.
Does not know: when an iteration runs, who watches.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from time import monotonic
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from jepad.errors import DeviceLost, SettingError
from jepad.jepa.video.rollout import Moment, World, rollout
from jepad.planning.bounds import Bounds
from jepad.planning.cem import Draws, Planner, Settings
from jepad.planning.energy import Survey, default_axes, guarded, l1, prohibition
from jepad.planning.pose import mover
from jepad.scene import wire
from jepad.scene.backend import Backend, Floats
from jepad.scene.eye import Frames
from jepad.scene.model import Model
from jepad.scene.placement import CPU
from jepad.scene.serving.batch import Alone
from jepad.scene.serving.work import Work, putter

#: On a CPU more samples at once are no faster.
MOST_ON_CPU = 64
#: Others wait so long for a chunk of a plan, if one sample takes no longer; and what is begun with
#: on a CPU before that was measured.
AIM_S, FIRST_FLOP = 0.2, 1e10

Report = Callable[[int, float], None]  # iterations done, the lowest energy of the last
Energy = Callable[[Any], Any]


class Quest(NamedTuple):
    """What is looked for; every field was checked."""

    start: Frames
    goal: Frames | Floats  # frames, or an embedding [K, D]
    state: Floats
    bounds: Bounds
    search: wire.Search


def quest(work: Work, asked: wire.PlanStart, parts: Sequence[bytes]) -> Quest:
    """SettingError, NotFound: why this can't be planned."""
    search = asked.search
    settings(search)
    bounds = work.model.bounds(asked.bounds)
    if search.landscape:
        Survey(bounds, default_axes(bounds), search.landscape)
    goal: NDArray[Any]
    if isinstance(asked.goal, wire.Blob) and asked.goal.kind == "f4":
        goal = wire.floats_of(asked.goal, parts, "K D")
        wanted = (work.model.frame.tokens, work.model.encoder.width)
        if goal.shape != wanted:
            raise SettingError(f"a goal's embedding is {list(wanted)}, not {list(goal.shape)}")
    else:
        goal = work.frames(asked.goal, parts)[-1:].copy()
    start = work.frames(asked.frames, parts)[-1:].copy()  # a plan keeps no more than it needs
    return Quest(start, goal, work.state(asked.state), bounds, search)


def settings(search: wire.Search) -> Settings:
    """SettingError: sizes that don't fit each other."""
    return Settings(
        samples=search.samples,
        elites=search.elites,
        iterations=search.iterations,
        horizon=search.horizon,
        momentum=search.momentum,
        seed=search.seed,
    )


def planned(work: Work, sought: Quest, report: Report) -> Generator[Any, Any, wire.Planned]:
    """Yields what it needs (batch.Need), a part of an iteration a need."""
    start = yield from work.last(sought.start)
    goal = cast(Floats, sought.goal)
    if sought.goal.dtype == np.uint8:
        goal = yield from work.last(cast(Frames, sought.goal))
    search: _Search = yield Alone(lambda backend: _Search(backend, work.model, sought, start, goal))
    planner = search.planner
    while not planner.done:
        before = planner.iteration
        while planner.iteration == before:
            yield Alone(search.iterate)
        report(planner.iteration, planner.energies[-1])
    plan = planner.plan()
    energy: float = yield Alone(lambda backend: search.of(plan.action[None], backend)[0])
    landscape = None
    if sought.search.landscape:
        landscape = yield from _landscape(search, sought, plan.action)
    return wire.Planned(
        action=tuple(plan.action[0].tolist()),
        mean=tuple(tuple(row) for row in plan.mean.tolist()),
        std=tuple(tuple(row) for row in plan.spread.tolist()),
        names=plan.names,
        energy=energy,
        energy_start=float(l1(start[None], goal)[0]),
        bounds=sought.bounds.to_json(),
        digest=work.model.digest,
        device=search.device,
        landscape=landscape,
    )


class _Search:
    """A planner and its energy on one backend; arrays of another would be of no use."""

    def __init__(
        self, backend: Backend, model: Model, sought: Quest, start: Floats, goal: Floats
    ) -> None:
        put = putter(backend)
        self._backend, self.device = backend, backend.device
        move = mover(sought.bounds, backend.xp, put)
        world = World(backend.act, move)
        now = Moment(put(start[None]), put(sought.state[None]))
        draws = Draws(sought.search.seed, put)
        refused = prohibition(sought.bounds, now.state, move)
        self.planner = Planner(sought.bounds, settings(sought.search), draws, refused)
        target = put(goal[None])

        def energy(actions: Any) -> Any:
            return l1(rollout(world, now, actions)[-1].tokens, target)

        self._energy = guarded(energy, sought.bounds, now.state, move)
        self._found: list[float] = []
        self.pace = pace(backend, model, sought.search.horizon)

    def iterate(self, backend: Backend) -> bool:
        """The next part of a round; the last one ends it."""
        asked, first = self.planner.ask(), len(self._found)
        self._found += self._of(asked[first : first + self.pace.now], backend)
        if len(self._found) >= len(asked):
            found, self._found = self._found, []
            self.planner.tell(found)
        return True

    def of(self, actions: Floats, backend: Backend) -> list[float]:
        """Energies of actions [S, H, A], at most `pace.now`."""
        return self._of(backend.put(actions), backend)

    def _of(self, actions: Any, backend: Backend) -> list[float]:
        self._same(backend)
        begun = monotonic()
        found: list[float] = self._energy(actions).tolist()
        self.pace.took(len(found), monotonic() - begun)
        return found

    def _same(self, backend: Backend) -> None:
        if backend is not self._backend:
            raise DeviceLost(f"{self.device} was lost while planning: start the plan again")


class Pace:
    """Samples that are imagined at once: as memory allows, and others' patience."""

    def __init__(self, first: int, most: int) -> None:
        self.now, self._most = max(1, min(first, most)), max(1, most)

    def took(self, samples: int, seconds: float) -> None:
        """So long. A power of two comes next: a device works in few sizes."""
        wanted = min(samples * AIM_S / max(seconds, 1e-6), 4 * self.now, self._most)
        if samples < self.now and wanted >= samples:
            return  # the rest of a round: nothing is known of more at once
        self.now = 1 << max(0, int(wanted).bit_length() - 1)


def pace(backend: Backend, model: Model, horizon: int) -> Pace:
    """To begin with."""
    shape = model.deciding()
    tokens = model.frame.tokens + 2
    past = 2 * shape.depth * tokens * shape.width * 4 * (horizon - 1)
    now = tokens * 4 * (8 * shape.width + 2 * shape.hidden + 2 * shape.source)
    fit = max(1, backend.free_bytes() // 4 // (past + now))
    if backend.device != CPU:
        return Pace(fit, fit)
    weights = shape.depth * (4 * shape.width**2 + 2 * shape.width * shape.hidden)
    first = round(FIRST_FLOP / (2 * weights * tokens * horizon))
    return Pace(first, min(fit, MOST_ON_CPU))


def _landscape(search: _Search, sought: Quest, mean: Floats) -> Generator[Any, Any, wire.Landscape]:
    survey = Survey(sought.bounds, default_axes(sought.bounds), sought.search.landscape)
    actions = survey.actions(mean)
    energies: list[float] = []
    while len(energies) < len(actions):
        some = actions[len(energies) : len(energies) + search.pace.now]
        energies += yield Alone(functools.partial(search.of, some))
    made = survey.landscape(energies)
    rows = tuple(tuple(row) for row in made.energies.tolist())
    return wire.Landscape(rows, made.axes, made.low, made.high)
