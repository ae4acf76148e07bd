"""A machine made of columns, its telemetry stream and a forecaster on it, in one process."""

import numpy as np

from jepad import config
from jepad.engine.batch import Batch
from jepad.engine.follow import Follower
from jepad.engine.forecaster import Forecaster
from jepad.engine.learned import Learned
from jepad.engine.pace import Pace
from jepad.engine.recent import Recent
from jepad.records import Sample, Series
from jepad.telemetry import Telemetry

MODEL = "ab" * 32
START_NS = 1000 * 10**9
#: Wall clock of the rig at CLOCK_MONOTONIC 0: any day's midnight (UTC).
MIDNIGHT_S = 20_000 * 86_400


class Played:
    """A sampler over columns {name: values}; `plugged` are those there are."""

    def __init__(self, columns, plugged=None):
        self.columns = {n: np.asarray(v, float) for n, v in columns.items()}
        self.plugged = list(plugged or columns)
        self.kinds = {}
        self.states = ()
        self.n = 0
        self._looked = list(self.plugged)

    @property
    def series(self):
        return tuple(Series(n, "", self.kinds.get(n, "gauge")) for n in self._looked)

    def take(self):
        row = np.array([self.columns[n][self.n] for n in self._looked])
        row[~np.isfinite(row)] = np.nan
        self.n += 1
        return Sample(START_NS + self.n * 10**9, row)

    def redescribe(self):
        before, self._looked = self._looked, list(self.plugged)
        return before != self._looked


class Rig:
    """tick() makes a second pass; what the forecaster made of it."""

    def __init__(self, prefix, played, backend=None, learned=None):
        self.played = played
        self.telemetry = Telemetry(played, prefix, config.Ring(telemetry_slots=2048), 1.0)
        self.follower = Follower(prefix, "telemetry")
        self.wall_offset_ns = MIDNIGHT_S * 10**9
        self.learned = learned or Learned(MODEL, lambda: self.wall_offset_ns)
        self.batch = Batch(backend) if backend else None
        self.stream = self.forecaster = None

    def tick(self):
        self.telemetry.redescribe()
        self.telemetry.tick()
        return self.look()

    def look(self):
        stream = self.follower.stream()
        if stream is not self.stream:
            recent = Recent(stream, ["*"])
            if self.forecaster is None or not self.forecaster.follow(recent):
                self.forecaster = Forecaster(
                    Recent(stream, ["*"]), self.batch, MODEL, Pace(1), self.learned
                )
            self.stream = stream
        while True:
            made = self.forecaster.tick()
            if not self.forecaster.behind:
                return made

    def ticks(self, count):
        return [self.tick() for _ in range(count)]

    def close(self):
        self.follower.close()
        self.telemetry.retire()


def quantiles_of(forecast, name):
    """[H, 3] of one series."""
    return forecast.quantiles[[s.name for s in forecast.series].index(name)]


def row(made, name):
    """Of one series: quantiles [H, 3] and weights [H]."""
    c = [s.name for s in made.forecast.series].index(name)
    return made.forecast.quantiles[c], made.forecast.weight[c]


def held(made, column, name, h, first=0):
    """Share of the intervals h steps ahead that held; made[t] was told of column[t]."""
    said = [row(one, name)[0] for one in made]
    place = {1: 0, 4: 1, 16: 2, 64: 3}[h]
    known = [
        q[place, 0] <= column[t + h] <= q[place, 2]
        for t, q in enumerate(said)
        if t >= first
        and t + h < len(column)
        and np.isfinite(q).all()
        and np.isfinite(column[t + h])
    ]
    return float(np.mean(known)), len(known)
