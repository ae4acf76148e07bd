"""`python -m bench power --data DIR`: power, second by second, of systems never seen.

Owns: which systems are scored and which teach, the stretches, battery time, tables and goals.
Does not know: how any forecaster works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import stretches
from bench.boosted import Budget
from bench.report import Cell, Goal, Options, Report, Table
from bench.stretches import Stretch
from jepad.heads.forecast import finish
from jepad.heads.prepare import CONTEXT, prepare
from jepad.heads.prepare import HORIZONS as MODEL_HORIZONS
from jepad.learn.corpus import TRAIN_SHARE
from jepad.learn.score import Graph

Array = NDArray[np.floating]
HORIZONS = (1, 2, 4, 8, 16, 32, 64)
#: By archive: the channel that is power.
POWER = {
    "mlperf_inference_power": "wall_power",
    "mlperf_training_power": "node_power",
    "rapl_pc_1hz": "cpu_power_rapl",
    "jetson_training": "power",
}
TREES, MODEL, BLEND = "LightGBM, lags", "jepad int8", "jepad as served (blend)"
#: Rows before the first answer that counts: a context, then time for the blend to learn.
_FIRST = CONTEXT + 99
_LENGTH = _FIRST + 160 + HORIZONS[-1]
_BATTERY, _EVERY, _PACE = "laptop_1hz_battery", 30, 10


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is scored and taught."""

    systems: int  # scored, an archive
    pieces: int  # of each system
    teachers: int  # rows in all
    budget: Budget


FULL = Effort(12, 3, 40_000, Budget(0, 150, leaves=31, rate=0.06, threads=2))
QUICK = Effort(6, 1, 8_000, Budget(0, 40, leaves=15, rate=0.15, threads=1))


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch, and which of its channels is power."""

    stretch: Stretch
    place: int
    unseen: bool  # the model never trained on its system

    @property
    def power(self) -> Array:
        """[T]."""
        out: Array = self.stretch.values[:, self.place]
        return out


def run(options: Options) -> Report:
    """Score everything; goals are met or not, that is no error."""
    report = Report()
    effort = QUICK if options.quick else FULL
    graph, trained = stretches.shipped()
    scored: list[Piece] = []
    teachers: list[Stretch] = []
    for name, channel in POWER.items():
        path = stretches.find(options.data, name) if options.data else None
        if path is None:
            report.notes.append(f"no {name}.npz there: name its directory with --data")
            continue
        series = [s for s in stretches.read(path, _FIRST) if channel in s.names]
        pieces = _chosen(series, channel, trained, effort)
        strange = {p.stretch.key for p in pieces if p.unseen}
        known = {p.stretch.key for p in pieces} - strange
        scored += pieces
        teachers += [_taught(s, channel, known) for s in series if s.key not in strange]
    if scored and teachers:
        report.notes.append(
            "mlperf_training_power: nodes of one run do the same at the same time, and other nodes "
            "of the runs scored taught both the model and the trees"
        )
        _power(report, graph, scored, (teachers, effort))
    else:
        report.goals.append(Goal("power: MAE ÷ persistence", None, "<", 1.0, "no data"))
    path = stretches.find(options.data, _BATTERY) if options.data else None
    if path is not None:
        _battery(report, graph, path, trained)
    return report


def _taught(s: Stretch, channel: str, known: set[str]) -> Stretch:
    """The power alone; of a system that is scored later in time, its earlier time."""
    end = int(len(s.values) * TRAIN_SHARE) if s.key in known else len(s.values)
    values = s.values[:end, [s.names.index(channel)]]
    return Stretch(s.key, (channel,), values, s.dt_s, s.first)


def _chosen(
    series: Sequence[Stretch], channel: str, trained: frozenset[str], effort: Effort
) -> list[Piece]:
    """Pieces of systems the model never trained on; where it did on all, of their last quarter."""
    long = [s for s in series if len(s.values) >= _LENGTH]
    fresh = sorted({s.key for s in long} - trained)
    # Among strangers alone, half of them teach the trees.
    every = 1 if {s.key for s in series} & trained else 2
    keys = fresh[::every] or sorted({s.key for s in long})
    return [
        _piece(mine[i], channel, bool(fresh))
        for key in (keys[i] for i in _some(len(keys), effort.systems))
        for mine in [[s for s in long if s.key == key]]
        for i in _some(len(mine), effort.pieces)
    ]


def _some(count: int, most: int) -> list[int]:
    """Evenly spaced places."""
    at = np.linspace(0, count - 1, min(most, count)).round().astype(int)
    return [int(i) for i in np.unique(at)]


def _piece(s: Stretch, channel: str, unseen: bool) -> Piece:
    """The middle of a series; the last quarter of one whose beginning the model knows."""
    total = len(s.values)
    begin = (total - _LENGTH) // 2 if unseen else max(int(total * TRAIN_SHARE) - _FIRST, 0)
    values = s.values[begin : begin + _LENGTH]
    return Piece(Stretch(s.key, s.names, values, s.dt_s, _FIRST), s.names.index(channel), unseen)


def _power(
    report: Report,
    graph: Graph,
    scored: Sequence[Piece],
    teaching: tuple[Sequence[Stretch], Effort],
) -> None:
    windows, came = [], []
    for p in scored:
        at = stretches.origins(p.stretch)
        windows.append(stretches.contexts(p.power[:, None], at)[:, 0])
        key = p.stretch.key
        came.append((key, stretches.later(p.power[:, None], at, HORIZONS)[:, 0]))
    said = [stretches.tell(graph, p.stretch, [p.place], HORIZONS) for p in scored]
    trees = _trees(*teaching)
    medians: dict[str, list[Array]] = {
        "persistence": [
            np.repeat(stretches.scales(w)[0][:, None], len(HORIZONS), 1) for w in windows
        ],
        "linear trend": [stretches.trend(w, HORIZONS) for w in windows],
        TREES: [_predicted(trees, w) for w in windows],
        MODEL: [s.model[:, 0, :, 1] for s in said],
        BLEND: [s.blend[:, 0, :, 1] for s in said],
    }
    _by_source(report, scored, medians, came)


def _by_source(
    report: Report,
    scored: Sequence[Piece],
    medians: Mapping[str, Sequence[Array]],
    came: Sequence[tuple[str, Array]],
) -> None:
    for source in sorted({p.stretch.key.split(":")[0] for p in scored}):
        mine = [i for i, p in enumerate(scored) if p.stretch.key.startswith(f"{source}:")]
        one = scored[mine[0]]
        some = {name: [parts[i] for i in mine] for name, parts in medians.items()}
        rows = stretches.shares(some, [came[i] for i in mine])
        systems = len({scored[i].stretch.key for i in mine})
        how = f"{systems} systems never seen" if one.unseen else f"{systems} seen, later in time"
        title = f"{source}, {one.stretch.dt_s:g} s, {how}: MAE ÷ persistence"
        report.tables.append(stretches.table(title, HORIZONS, rows))
        if one.unseen:
            stretches.goals(report, source, HORIZONS, (rows, BLEND, TREES))


def _trees(teachers: Sequence[Stretch], effort: Effort) -> list[Any]:
    """A booster a horizon; systems teach with equally many rows."""
    rng = np.random.default_rng(0)
    hosts: dict[str, list[Stretch]] = {}
    for s in teachers:
        if len(s.values) > CONTEXT + HORIZONS[-1]:
            hosts.setdefault(s.key, []).append(s)
    each = max(effort.teachers // len(hosts), 1)
    windows, came = [], []
    for mine in hosts.values():
        for s in (mine[i] for i in _some(len(mine), 8)):
            count = -(-each // min(len(mine), 8))
            at = rng.integers(CONTEXT - 1, len(s.values) - HORIZONS[-1], count)
            windows.append(stretches.contexts(s.values, at)[:, 0])
            came.append(stretches.later(s.values, at, HORIZONS)[:, 0])
    x, y = np.concatenate(windows), np.concatenate(came)
    last, scale = stretches.scales(x)
    steps = (y - last[:, None]) / scale[:, None]
    lags = stretches.lags(x, _nothing(x), far=True)
    return [stretches.grown(lags, steps[:, i], effort.budget, "l1") for i in range(len(HORIZONS))]


def _predicted(trees: Sequence[Any], windows: Array) -> Array:
    last, scale = stretches.scales(windows)
    lags = stretches.lags(windows, _nothing(windows), far=True)
    out: Array = last[:, None] + np.stack([t.predict(lags) for t in trees], 1) * scale[:, None]
    return out


def _nothing(windows: Array) -> Array:
    return np.empty((len(windows), 0))


def _battery(report: Report, graph: Graph, path: str, trained: frozenset[str]) -> None:
    """Time until the level the recording ends at, said at its last quarter, every 30 s."""
    found: dict[str, list[Array]] = {}
    left, seen = [], False
    for s in stretches.read(path, 0):
        seen |= s.key in trained
        level, system = (s.values[:, s.names.index(n)] for n in ("Battery_Percent",
                                                                "Battery_SecsLeft"))  # fmt: skip
        end = int(np.argmax(level <= level[-1]))
        at = np.arange(int(len(level) * TRAIN_SHARE), end - 4 * _EVERY, _EVERY)
        left.append(end - at)
        togo = level[at] - level[-1]
        reach = CONTEXT * _PACE
        for name, rate in {
            "jepad int8, 10 s means": _drain(graph, s, at),
            "as in the 21 minutes before": (level[at - reach] - level[at]) / reach,
            "the system's own estimate": level[at] / np.maximum(system[at], 1),
        }.items():
            found.setdefault(name, []).append(np.clip(togo / np.maximum(rate, 1e-6), 0, 6 * 3600))
    true = np.concatenate(left)
    rows: list[list[Cell]] = []
    for name, parts in found.items():
        missed = np.abs(np.concatenate(parts) - true)
        rows.append([name, float(missed.mean() / 60), float(np.mean(missed / true))])
    title = f"battery: time left on one laptop, {len(true)} moments, {true.mean() / 60:.0f} min"
    title += " left on average" + (", seen, later in time" if seen else "")
    report.tables.append(Table(title, ["forecaster", "MAE, minutes", "MAE ÷ time left"], rows))


def _drain(graph: Graph, s: Stretch, at: NDArray[np.intp]) -> Array:
    """Percent a second, from what the model expects of the level 64 steps of 10 s ahead."""
    place = s.names.index("Battery_Percent")
    out = np.empty(len(at))
    for i, row in enumerate(at):
        past = s.values[row + 1 - CONTEXT * _PACE : row + 1]
        slow = past.reshape(CONTEXT, _PACE, -1).mean(1).T[None]
        now = prepare(slow, np.array([s.dt_s * _PACE]))
        expected = finish(now, graph(now.feeds)).quantiles[0, place, -1, 1]
        out[i] = (slow[0, place, -1] - expected) / (MODEL_HORIZONS[-1] * _PACE * s.dt_s)
    return out
