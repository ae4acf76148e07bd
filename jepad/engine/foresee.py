"""One question "what if": its actions in turn, each a run of the model on what came before.

Owns: what can be asked, the order of the runs, the contexts they see, the moments that are told.
Does not know: sockets, how runs are shared, which channels are worth asking about.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from jepad.engine import wire
from jepad.engine.batch import Batch, Job
from jepad.errors import EngineError, JepadError, NotReady
from jepad.heads import action, rollout
from jepad.heads.action import Action
from jepad.heads.forecast import Output
from jepad.heads.prepare import CONTEXT, HORIZONS, SHORTEST, carried
from jepad.heads.rollout import Stage, Told
from jepad.records import Floats

NO_ACTIONS = (
    "this model knows no actions: it was trained before any was measured."
    " Install a newer one; jepactl model says which this is"
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the model: a context [C, T], and what is done at its end."""

    context: Floats
    action: Action | None = None


Story = Generator[list[Run], list[Output], wire.Foreseen]
Done = Callable[[wire.Foreseen | JepadError], None]


class Foresight:
    """Lives in the batch until `done` was called, once."""

    def __init__(self, request: wire.Foresee, batch: Batch, done: Done) -> None:
        """SettingError, NotFound, NotReady or EngineError when this can't be answered."""
        context = wire.window(request.values)[:, -CONTEXT:]
        _check(request, context, batch)
        self._request, self._batch, self._done = request, batch, done
        self._story = _story(request, context, batch)
        self._heard: list[Output | None] = []
        self._over = False

    def start(self) -> None:
        """EngineError when there is too much to do."""
        self._ask(next(self._story))

    def _ask(self, runs: list[Run]) -> None:
        self._heard = [None] * len(runs)
        for i, run in enumerate(runs):
            job = Job(
                run.context,
                self._request.dt_s,
                self._request.deadline_ns,
                partial(self._hear, i),
                action=run.action,
                series=self._request.series,
            )
            self._batch.add(job)

    def _hear(self, i: int, result: Output | JepadError) -> None:
        if self._over:
            return  # of two runs the other one failed
        if isinstance(result, JepadError):
            self._end(result)
            return
        self._heard[i] = result
        heard = [output for output in self._heard if output is not None]
        if len(heard) < len(self._heard):
            return
        try:
            self._ask(self._story.send(heard))
        except StopIteration as end:
            self._end(end.value)
        except JepadError as error:
            self._end(error)

    def _end(self, result: wire.Foreseen | JepadError) -> None:
        self._over = True
        self._done(result)


def _story(request: wire.Foresee, context: Floats, batch: Batch) -> Story:
    """Two lives of the machine, idle and acted on, run on from one action to the next."""
    acts = request.acts
    (output,) = yield [Run(context, _action(acts[0]))]
    usable = tuple(output.usable[0].tolist())
    begun = stage = rollout.first(_told(output, acts[0]))
    idle = acted = context
    told: list[tuple[int, Stage]] = []
    steps = 0
    for act in acts[1:]:
        told += _moments(stage, steps, act.after)
        before = stage.at(np.stack([_last(idle), _last(acted)]), act.after)
        idle = rollout.extended(idle, stage.without, act.after)
        acted = rollout.extended(acted, stage.acted, act.after)
        steps += act.after
        quiet, output = yield [Run(idle), Run(acted, _action(act))]
        stage = rollout.later(begun, before, quiet.quantiles[0], _told(output, act))
    told += _moments(stage, steps, HORIZONS[-1])
    without, with_them, difference = (
        wire.pack(np.stack([getattr(moment, name) for _, moment in told], axis=1))
        for name in ("without", "acted", "difference")
    )
    horizons_s = tuple(request.dt_s * n for n, _ in told)
    digest, known = batch.digest, tuple(batch.actions)
    return wire.Foreseen(
        request.id, without, with_them, difference, horizons_s, usable, digest, known
    )


def _moments(stage: Stage, begin: int, until: int) -> list[tuple[int, Stage]]:
    """Steps from now, and what is foreseen then; up to the next action."""
    return [
        (begin + h, Stage(stage.without[:, i], stage.acted[:, i], stage.difference[:, i]))
        for i, h in enumerate(HORIZONS)
        if h <= until
    ]


def _told(output: Output, act: wire.Act) -> Told:
    if not act.kind:
        return Told(output.quantiles[0])
    if output.effect is None:
        raise EngineError("the model takes actions but tells no effect: is it of this version?")
    return Told(output.quantiles[0], output.effect[0])


def _action(act: wire.Act) -> Action | None:
    return Action(act.kind, act.unit, act.value) if act.kind else None


def _last(context: Floats) -> NDArray[np.floating]:
    return carried(context)[0][:, -1]


def _check(request: wire.Foresee, context: Floats, batch: Batch) -> None:
    if not batch.actions:
        raise NotReady(NO_ACTIONS)
    if len(request.series) != len(context):
        raise EngineError(f"{len(request.series)} names for {len(context)} channels")
    if any(act.after < 1 for act in request.acts[1:]):
        raise EngineError("two actions at the same moment")
    seen = dict(zip(request.series, np.isfinite(context).sum(1).tolist(), strict=True))
    for done in filter(None, map(_action, request.acts)):
        if done.kind not in batch.actions:
            known = ", ".join(batch.actions)
            raise NotReady(f"no forecast: this model never saw {done.kind[:40]!r}. Known: {known}")
        action.check(done, request.series)
        own = [n for name, n in seen.items() if name.startswith(f"cgroup.{done.unit}.")]
        most = max(own if done.unit else seen.values(), default=0)
        if most < SHORTEST:
            whose = f" of {done.unit}" if done.unit else ""
            raise NotReady(
                f"no forecast: {most} samples{whose} are too few, {SHORTEST} are needed."
                " Try again in some seconds"
            )
