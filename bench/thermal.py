"""`python -m bench thermal --data DIR`: temperature and throttling of boards never seen.

Owns: which boards are scored and which teach, what throttling is, tables and goals.
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
from bench.stretches import Said, Stretch
from jepad.heads.prepare import SHORTEST
from jepad.learn import metrics
from jepad.learn.score import Graph

Array = NDArray[np.floating]
HORIZONS = (1, 2, 4, 8)
#: A clock this far below the highest it has run at is throttled.
THROTTLED = 0.9
_TEMPERATURE = "soc_temp"
_KEPT = (_TEMPERATURE, "load1", "cpu_pct")
_FOLDS = 3
_FULL = Budget(0, 150, leaves=31, rate=0.06, threads=2)
_QUICK = Budget(0, 40, leaves=15, rate=0.15, threads=1)
_QUICK_BOARDS = 60
_FEWEST_EVENTS = 20
TREES, MODEL, BLEND = "LightGBM, lags", "jepad int8", "jepad as served (blend)"


@dataclass(frozen=True, slots=True)
class Clock:
    """Rows of one clock where it is not throttled yet."""

    rows: NDArray[np.intp]  # of the board's N
    features: Array  # [M, F]
    threshold: Array  # [M]
    lowest: Array  # [M]: of the last 16 readings
    falls: Array  # [M, H]: 1 = throttled within the horizon; NaN = not seen to the end


@dataclass(frozen=True, slots=True)
class Board:
    """One series of a board, as all forecasters see it."""

    stretch: Stretch
    windows: Array  # [N, CONTEXT] of the temperature
    features: Array  # [N, F]
    actual: Array  # [N, H]
    clocks: Mapping[int, Clock]  # by channel

    @property
    def key(self) -> str:
        """Of the host."""
        return self.stretch.key


def run(options: Options) -> Report:
    """Score everything; goals are met or not, that is no error."""
    report = Report()
    path = stretches.find(options.data, "sbc_bench") if options.data else None
    if path is None:
        report.notes.append("no sbc_bench.npz there: name its directory with --data")
        report.goals.append(Goal("MAE ÷ persistence, temperature", None, "<", 1.0, "no data"))
        return report
    graph, trained = stretches.shipped()
    boards = [b for s in stretches.read(path, SHORTEST - 1) if (b := _board(s)) is not None]
    keys = sorted({b.key for b in boards})
    fresh = [k for k in keys if k not in trained]
    every = -(-len(fresh) // _QUICK_BOARDS) if options.quick else 1
    chosen = fresh[::every]
    report.notes.append(
        f"{len(chosen)} boards scored, of {len(fresh)} the model never trained on, of {len(keys)}; "
        f"the trees' answers for a board come from {_FOLDS} folds of boards without it"
    )
    if len(fresh) < 20:
        report.notes.append(f"{len(fresh)} boards are too few for a claim")
    scored = [b for b in boards if b.key in set(chosen)]
    said = [_tell(graph, b) for b in scored]
    folds = [_Fold(boards, keys[i::_FOLDS], _QUICK if options.quick else _FULL)
             for i in range(_FOLDS)]  # fmt: skip
    trees = [next(f for f in folds if b.key in f.held) for b in scored]
    _temperatures(report, scored, said, trees)
    _throttling(report, scored, said, trees)
    return report


def _board(whole: Stretch) -> Board | None:
    keep = [i for i, n in enumerate(whole.names) if n in _KEPT or n.startswith("cpu_clock")]
    names, values = tuple(whole.names[i] for i in keep), whole.values[:, keep]
    stretch = Stretch(whole.key, names, values, whole.dt_s, whole.first)
    place = stretch.channel(_TEMPERATURE)
    at = stretches.origins(stretch)
    if place is None or len(at) < metrics.FEWEST:
        return None
    windows = stretches.contexts(values, at)
    beside = _beside(stretch, at)
    clocks = {
        i: _clock(stretch, i, windows[:, i], beside)
        for i, n in enumerate(names)
        if n.startswith("cpu_clock")
    }
    return Board(
        stretch,
        windows[:, place],
        stretches.lags(windows[:, place], beside, far=False),
        stretches.later(values, at, HORIZONS)[:, place],
        clocks,
    )


def _beside(s: Stretch, at: NDArray[np.intp]) -> Array:
    """What the host's other channels say: heat, load, the clock against its best. [N, K]."""
    nowhere = np.full(len(s.values), np.nan)
    columns = []
    for name in (_TEMPERATURE, "cpu_pct", "load1"):
        place = s.channel(name)
        x = nowhere if place is None else s.values[:, place]
        columns += [x[at], x[at] - x[at - 1], x[at] - x[at - 4], x[at] - x[at - 12]]
    place = s.channel("cpu_clock0")
    clock = nowhere if place is None else s.values[:, place]
    share = clock / np.fmax.accumulate(clock)
    # How far below the hottest it has been.
    place = s.channel(_TEMPERATURE)
    hottest = nowhere if place is None else np.fmax.accumulate(s.values[:, place])
    heat = columns[0] - hottest[at]
    columns += [share[at], share[at - 1], share[at - 4], heat, np.full(len(at), np.log(s.dt_s))]
    return np.column_stack(columns)


def _clock(s: Stretch, place: int, windows: Array, beside: Array) -> Clock:
    x = s.values[:, place]
    at = stretches.origins(s)
    threshold = THROTTLED * np.fmax.accumulate(x)[at]
    rows = np.flatnonzero(x[at] > threshold)
    falls = np.full((len(rows), len(HORIZONS)), np.nan)
    for i, h in enumerate(HORIZONS):
        whole = at[rows] + h < len(x)
        ahead = x[at[rows][whole][:, None] + np.arange(1, h + 1)]
        lowest = np.fmin.reduce(ahead, axis=1)
        falls[whole, i] = np.where(np.isnan(lowest), np.nan, lowest <= threshold[rows][whole])
    features = stretches.lags(windows[rows], beside[rows], far=False)
    lowest = np.fmin.reduce(windows[rows, -16:], axis=1)
    return Clock(rows, features, threshold[rows], lowest, falls)


def _tell(graph: Graph, board: Board) -> Said:
    """Of the temperature first, then of the clocks."""
    place = board.stretch.channel(_TEMPERATURE)
    targets = [0 if place is None else place, *board.clocks]
    return stretches.tell(graph, board.stretch, targets, HORIZONS)


class _Fold:
    """Trees that learned from every board but some."""

    def __init__(self, boards: Sequence[Board], held: Sequence[str], budget: Budget) -> None:
        self.held = frozenset(held)
        teachers = [b for b in boards if b.key not in self.held]
        x = np.concatenate([b.features for b in teachers])
        y = np.concatenate([_steps(b) for b in teachers])
        clocks = [c for b in teachers for c in b.clocks.values()]
        features = np.concatenate([c.features for c in clocks])
        falls = np.concatenate([c.falls for c in clocks])
        self._medians: list[Any] = []
        self._fallers: list[Any] = []
        for i in range(len(HORIZONS)):
            self._medians.append(stretches.grown(x, y[:, i], budget, "l1"))
            self._fallers.append(stretches.grown(features, falls[:, i], budget, "binary"))

    def medians(self, board: Board) -> Array:
        """[N, H]."""
        last, scale = stretches.scales(board.windows)
        steps = np.stack([m.predict(board.features) for m in self._medians], 1)
        out: Array = last[:, None] + steps * scale[:, None]
        return out

    def falls(self, clock: Clock) -> Array:
        """Chances [M, H]."""
        return np.stack([m.predict(clock.features) for m in self._fallers], 1)


def _steps(board: Board) -> Array:
    last, scale = stretches.scales(board.windows)
    out: Array = (board.actual - last[:, None]) / scale[:, None]
    return out


def _temperatures(
    report: Report, scored: Sequence[Board], said: Sequence[Said], trees: Sequence[_Fold]
) -> None:
    medians = {
        "persistence": [np.repeat(stretches.scales(b.windows)[0][:, None], 4, 1) for b in scored],
        "linear trend": [stretches.trend(b.windows, HORIZONS) for b in scored],
        TREES: [f.medians(b) for f, b in zip(trees, scored, strict=True)],
        MODEL: [s.model[:, 0, :, 1] for s in said],
        BLEND: [s.blend[:, 0, :, 1] for s in said],
    }
    rows = stretches.shares(medians, [(b.key, b.actual) for b in scored])
    report.tables.append(stretches.table("temperature: MAE ÷ persistence", HORIZONS, rows))
    stretches.goals(report, "temperature", HORIZONS, (rows, BLEND, TREES))


def _throttling(
    report: Report, scored: Sequence[Board], said: Sequence[Said], trees: Sequence[_Fold]
) -> None:
    names = (
        "LightGBM",
        "jepad: p10 of the clock",
        "jepad: p_rise of the temperature",
        "temperature alone",
        "lowest clock of the last 16",
    )
    scores: dict[str, list[Array]] = {name: [] for name in names}
    falls = []
    for board, told, fold in zip(scored, said, trees, strict=True):
        for i, clock in enumerate(board.clocks.values()):
            p10 = np.minimum.accumulate(told.blend[clock.rows, i + 1, :, 0], axis=1)
            heat = stretches.scales(board.windows[clock.rows])[0]
            found = (
                fold.falls(clock) if len(clock.rows) else np.empty((0, len(HORIZONS))),
                1 - p10 / clock.threshold[:, None],
                told.p_rise[clock.rows, 0],
                np.repeat(heat[:, None], len(HORIZONS), 1),
                np.repeat((1 - clock.lowest / clock.threshold)[:, None], len(HORIZONS), 1),
            )
            for name, score in zip(names, found, strict=True):
                scores[name].append(score)
            falls.append(clock.falls)
    _judge(report, {n: np.concatenate(s) for n, s in scores.items()}, np.concatenate(falls))


def _judge(report: Report, scores: Mapping[str, Array], falls: Array) -> None:
    """AUROC and AP over all rows of all boards together: one board has few events or none."""
    known, events = np.isfinite(falls), (falls == 1)
    rows: list[list[Cell]] = [
        ["events", *map(int, events.sum(0))],
        ["rows", *known.sum(0).tolist()],
    ]
    figures: dict[tuple[str, str], list[float]] = {}
    for kind, measure in (("AUROC", metrics.auroc), ("AP", metrics.average_precision)):
        for name, score in scores.items():
            row = [
                measure(score[known[:, i], i], events[known[:, i], i]) for i in range(len(HORIZONS))
            ]
            figures[kind, name] = row
            rows.append([f"{kind}, {name}", *row])
    columns = ["figure", *(f"{h} steps" for h in HORIZONS)]
    report.tables.append(Table("throttling: clock 10 % below its best within", columns, rows))
    ours, theirs = figures["AP", "jepad: p10 of the clock"], figures["AP", "LightGBM"]
    for i in (2, 3):
        count = int(events[:, i].sum())
        share = ours[i] / theirs[i] if count >= _FEWEST_EVENTS else None
        report.goals.append(
            Goal(f"throttling AP ÷ LightGBM's, {HORIZONS[i]} steps", share, ">=", 1.0,
                 f"{count} events")
        )  # fmt: skip
