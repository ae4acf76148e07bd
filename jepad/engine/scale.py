"""One pace at which the machine is looked at: every step, or every ten.

Owns: what the model last said at this pace and how old that is, what the baseline says now, and
how much each is worth. Does not know the ring, nor the other pace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jepad.engine.batch import Job
from jepad.errors import JepadError
from jepad.heads.blend import Blend
from jepad.heads.forecast import Output
from jepad.heads.history import Running, moved
from jepad.heads.prepare import HORIZONS
from jepad.heads.since import baselines
from jepad.heads.width import Width
from jepad.records import Floats, Floats32

#: A model's word older than this many steps is worth nothing.
STALE = 20


@dataclass(frozen=True, slots=True)
class Word:
    """What one pace has to say of C channels at HORIZONS."""

    quantiles: Floats  # [C, H, 3]; NaN: too little is known of the channel
    p_rise: Floats  # [C, H]
    weight: Floats32  # [C, H] of the model

    def moved(self, places: NDArray[np.intp]) -> Word:
        """Of other channels: channel i was places[i], or is new where that is -1."""
        return Word(
            moved(self.quantiles, places, np.nan),
            moved(self.p_rise, places),
            moved(self.weight, places),
        )


class Scale:
    """Step by step: the context grows, the model may speak, the word is given."""

    def __init__(self, channels: int, dt_s: float) -> None:
        self.dt_s = dt_s
        self.context: Floats = np.empty((channels, 0))
        self.output: Output | None = None
        self.age = 0  # steps since the output's newest sample
        self.days: Floats32 | None = None  # as in History: the same time on earlier days
        self._running = Running(channels)
        self._blend = Blend(channels, HORIZONS)
        self._width = Width(channels, HORIZONS)
        self._unscored = self._unfitted = 0  # steps since the one and the other heard the newest

    def step(self, context: Floats, fresh: Floats) -> None:
        """context [C, T] now; fresh [K, C], the rows that came since the last step."""
        for row in fresh:
            self._running.update(row)
        self.context = context
        self.age += len(fresh)
        self._unscored += len(fresh)
        self._unfitted += len(fresh)

    def job(self, deadline_ns: int, heard: Callable[[Output | JepadError], None]) -> Job:
        """The model's turn."""
        history = replace(self._running.history(), days=self.days)
        return Job(self.context, self.dt_s, deadline_ns, heard, history)

    def hear(self, output: Output) -> None:
        """What the model says of the context."""
        self.output, self.age = output, 0

    def word(self) -> Word:
        """The blend of both, for now, as wide as held here; once a step, for it learns from what
        came."""
        said = self._blended()
        steps, self._unfitted = min(self._unfitted, HORIZONS[-1]), 0
        quantiles = self._width.fitted(self.context[:, -1], said.quantiles, steps)
        return replace(said, quantiles=quantiles)

    def _blended(self) -> Word:
        base, base_rise = baselines(self.context, self.dt_s, HORIZONS)
        if self.output is None or self.age > STALE:
            return Word(base, base_rise, np.zeros(base_rise.shape, np.float32))
        model = rolled(self.output.quantiles[0], self.age)
        rise = rolled(self.output.p_rise[0], self.age)
        steps, self._unscored = min(self._unscored, HORIZONS[-1]), 0
        weight = self._blend.weights(self.context[:, -1], model, base, steps)
        weight *= self.output.usable[0][:, None]
        share = weight[..., None]
        return Word(
            share * model + (1 - share) * base,
            weight * rise + (1 - weight) * base_rise,
            weight,
        )

    @property
    def proven(self) -> float:
        """Share of the channels whose weights rest on answers."""
        return self._blend.proven

    def move(self, places: NDArray[np.intp]) -> None:
        """Other channels from now on: channel i was places[i], or is new where that is -1."""
        self._running.move(places)
        self._blend.move(places)
        self._width.move(places)
        self.context = moved(self.context, places, np.nan)
        self.days = None
        if self.output:
            said = self.output
            self.output = replace(
                said,
                quantiles=moved(said.quantiles[0], places)[None],
                p_rise=moved(said.p_rise[0], places)[None],
                usable=moved(said.usable[0], places, False)[None],
            )

    def told(self, channel: int) -> tuple[list[float], list[list[float]], list[float]]:
        """Of one channel its statistics, the errors made and the widths, to persist."""
        running, blend = self._running.told(channel), self._blend.told(channel)
        return list(running), list(blend), self._width.told(channel)

    def restore(
        self,
        channel: int,
        running: Sequence[float],
        blend: Sequence[Sequence[float]],
        width: Sequence[float],
    ) -> None:
        """Take what `told` said of a channel; ValueError if it can't have."""
        self._running.restore(channel, running)
        self._blend.restore(channel, blend)
        self._width.restore(channel, width)


def rolled(said: NDArray[np.floating], age: int) -> Floats:
    """What was said `age` steps ago for each horizon [C, H, ...], read as of now.

    The value h steps ahead now was h + age steps ahead then: between two horizons of then.
    """
    then: Floats = said.astype(np.float64)
    if not age:
        return then
    known = np.log(HORIZONS)
    place = np.interp(np.log(np.add(HORIZONS, age)), known, np.arange(len(HORIZONS)))
    low = np.minimum(place.astype(int), len(HORIZONS) - 2)
    part = (place - low).reshape(-1, *[1] * (then.ndim - 2))
    now: Floats = (1 - part) * then[:, low] + part * then[:, low + 1]
    return now
