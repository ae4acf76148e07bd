"""`python -m bench machine [--data DIR]`: the shipped model beside classical and boosted trees.

Owns: who is scored, who trains the trees, the tables and goals. Every forecaster sees the same
windows of hosts it never trained on, later in time. Does not know: how any of them works.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench import anomaly, baselines, boosted, seeds
from bench.report import Cell, Goal, Options, Report, Table
from jepad.heads.forecast import finish
from jepad.heads.prepare import HORIZONS, prepare
from jepad.learn import metrics, score, traces
from jepad.learn.corpus import OWN, Cut, cut
from jepad.learn.score import Graph, Place, Told
from jepad.models.store import load as load_model

_FIXTURE = os.path.join(os.path.dirname(__file__), "..", "tests", "fixtures", "traces")
Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is scored and trained."""

    hosts: int  # scored, a source
    windows: int  # scored, a host
    latents: int  # of these, for their latents
    teachers: int  # hosts the trees learn from, a source
    budget: boosted.Budget


FULL = Effort(hosts=12, windows=160, latents=40, teachers=40, budget=boosted.FULL)
_TOGETHER = 8  # hosts a run of the graph: what they need then stays in the cache
QUICK = Effort(hosts=2, windows=32, latents=12, teachers=3, budget=boosted.QUICK)


@dataclass(frozen=True, slots=True)
class Field:
    """What is scored, and what the trees may learn from."""

    where: list[Place]
    teachers: list[Cut]
    note: str


def run(options: Options) -> Report:
    """Score everything; goals are met or not, that is no error."""
    report = Report()
    effort = QUICK if options.quick else FULL
    model = load_model()
    graphs = seeds.graphs(model)
    data = options.data or _FIXTURE
    if not options.data:
        report.notes.append("no --data: scored on the small cut in tests/fixtures, no benchmark")
    found = traces.read_all(data)
    field = choose(found, _trained(model.card), effort)
    report.notes += [field.note, seeds.note(graphs)]
    told = [[score.tell(g, p) for p in field.where] for g in graphs]
    _forecasts(report, field, told, effort)
    _latents(report, graphs, field, effort)
    named = {f"seed {i}": g for i, g in enumerate(graphs)}
    tables, goals, notes = anomaly.figures(named, data, options.quick)
    report.tables += tables
    report.goals += goals
    report.notes += notes
    _cost(report, graphs[0])
    return report


def _trained(card: Mapping[str, object]) -> frozenset[str]:
    split = card.get("split")
    hosts = split.get("trained_hosts", []) if isinstance(split, dict) else []
    return frozenset(map(str, hosts))


def choose(found: Sequence[traces.Trace], trained: frozenset[str], effort: Effort) -> Field:
    """Hosts the model never saw, later in time; where there are none, seen ones, later in time."""
    where: list[Place] = []
    teachers: list[Cut] = []
    seen_hosts: list[str] = []
    for source in sorted({t.source for t in found}):
        mine = [t for t in found if t.source == source]
        fresh = [t for t in mine if t.key not in trained]
        if not fresh and source not in OWN:
            seen_hosts.append(source)
        # Among strangers alone, half of them teach the trees.
        most = effort.hosts if len(mine) - len(fresh) >= 3 else max(1, len(fresh) // 2)
        scored = _some(fresh or mine, min(effort.hosts, most))
        places = score.places(_cuts(scored), effort.windows)
        where += places
        keys = {t.key for t in scored}
        others = [t for t in mine if t.key not in keys]
        # One host alone: the trees learn from its earlier time, as the model may have.
        teachers += _cuts(_some(others or scored, effort.teachers))
    note = f"scored: {len(where)} hosts of {len({p.cut.source for p in where})} sources"
    if seen_hosts:
        note += f"; only later time, not unseen hosts, in: {', '.join(seen_hosts)}"
    return Field(where, teachers, note)


def _some(items: Sequence[traces.Trace], most: int) -> list[traces.Trace]:
    """Evenly spaced ones."""
    at = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))
    return [items[i] for i in at]


def _cuts(chosen: Sequence[traces.Trace]) -> list[Cut]:
    return [c for c in map(cut, chosen) if c is not None]


def _forecasts(
    report: Report, field: Field, told: Sequence[Sequence[Told]], effort: Effort
) -> None:
    trees = boosted.train(field.teachers, effort.budget, season=False, events=False)
    seasoned = boosted.train(field.teachers, effort.budget, season=True, events=True)
    forecasters: dict[str, Callable[[Place], Array]] = {
        "seasonal naive": baselines.seasonal,
        "EWMA": baselines.ewma,
        "local ridge": baselines.ridge,
        "LightGBM, lags": trees.forecast,
        "LightGBM, lags and yesterday": seasoned.forecast,
    }
    medians = {n: [f(p) for p in field.where] for n, f in forecasters.items()}
    rows = {n: score.relative(m, told[0]) for n, m in medians.items()}
    medians["jepad int8"] = [t.quantiles[..., 1] for t in told[0]]
    each = [score.relative([t.quantiles[..., 1] for t in one], one) for one in told]
    rows["jepad int8"] = np.mean(each, axis=0)
    columns = ["forecaster", *(f"{h} steps" for h in HORIZONS)]
    table: list[Sequence[Cell]] = [[n, *map(float, r)] for n, r in rows.items()]
    report.tables.append(Table("MAE ÷ persistence", columns, [*table, *seeds.spread(each)]))
    report.tables.append(_by_source(field, told[0], medians))
    calibrated = [score.calibrated(p) for p in field.where]
    said = [score.forecast_figures(one, calibrated) for one in told]
    figures = {k: np.mean([f[k] for f in said], axis=0) for k in ("pinball", "coverage")}
    lines: list[Sequence[Cell]] = []
    for k, row in figures.items():
        lines += [[k, *map(float, row)], *seeds.spread([f[k] for f in said])]
    report.tables.append(Table("jepad int8: intervals", columns, lines))
    _forecast_goals(report, rows, figures)
    _events(report, field, told, seasoned)


def _by_source(field: Field, told: Sequence[Told], medians: Mapping[str, Sequence[Array]]) -> Table:
    shown = ("EWMA", "LightGBM, lags and yesterday", "jepad int8")
    rows: list[list[str | float | int | None]] = []
    for source in sorted({p.cut.source for p in field.where}):
        mine = [i for i, p in enumerate(field.where) if p.cut.source == source]
        for name in shown:
            row = score.relative([medians[name][i] for i in mine], [told[i] for i in mine])
            rows.append([source, len(mine), name, *map(float, row)])
    columns = ["source", "hosts", "forecaster", *(f"{h} steps" for h in HORIZONS)]
    return Table("MAE ÷ persistence, by source", columns, rows)


def _forecast_goals(
    report: Report, rows: Mapping[str, Array], figures: Mapping[str, Array]
) -> None:
    mine, best = rows["jepad int8"], rows["LightGBM, lags and yesterday"]
    limits = (0.86, 0.79, 0.68, 0.50)
    for i, h in enumerate(HORIZONS):
        report.goals += [
            Goal(f"MAE ÷ persistence, {h} steps", float(mine[i]), "<", 1.0),
            Goal(f"MAE ÷ EWMA's, {h} steps", float(mine[i] / rows["EWMA"][i]), "<", 1.0),
            Goal(f"MAE ÷ LightGBM+yesterday's, {h} steps", float(mine[i] / best[i]), "<=", 1.0),
            Goal(
                f"pinball ÷ persistence's, {h} steps", float(figures["pinball"][i]), "<=", limits[i]
            ),
        ]
    covered = float(np.mean(figures["coverage"]))
    report.goals.append(Goal("coverage of 80 % intervals", covered, ">=", 0.77))
    report.goals.append(Goal("coverage of 80 % intervals", covered, "<=", 0.83))


def _events(
    report: Report, field: Field, told: Sequence[Sequence[Told]], trees: boosted.Boosted
) -> None:
    each = [score.event_figures([t.p_rise for t in one], one) for one in told]
    ours = {k: np.mean([e[k] for e in each], axis=0) for k in each[0]}
    theirs = score.event_figures([trees.rises(p) for p in field.where], told[0])
    columns = ["figure", *(f"{h} steps" for h in HORIZONS)]
    rows: list[Sequence[Cell]] = []
    for kind in ("auroc", "ap", "recall"):
        rows.append([f"LightGBM {kind}", *map(float, theirs[kind])])
        rows.append([f"jepad int8 {kind}", *map(float, ours[kind])])
        rows += seeds.spread([e[kind] for e in each])
    report.tables.append(Table("rises above its own q97 (recall at P >= .5)", columns, rows))
    for i, h in enumerate(HORIZONS):
        if h in (4, 64):
            share = float(ours["ap"][i] / theirs["ap"][i])
            report.goals.append(Goal(f"event AP ÷ LightGBM's, {h} steps", share, ">=", 1.05))
    at = HORIZONS.index(4)
    report.goals.append(Goal("recall at P50, 4 steps", float(ours["recall"][at]), ">=", 0.26))


def _latents(report: Report, graphs: Sequence[Graph], field: Field, effort: Effort) -> None:
    figures = [score.latent_figures(g, field.where, effort.latents) for g in graphs]
    each = [skill for skill, _ in figures]
    skill = np.mean(each, axis=0)
    windows, width = figures[0][1].shape
    # Of fewer windows than this the rank speaks of the windows.
    ranks = [metrics.effective_rank(z) for _, z in figures]
    rank = float(np.mean(ranks)) if windows >= 3 * width else None
    columns = ["figure", *(f"{h} steps" for h in HORIZONS)]
    rows: list[Sequence[Cell]] = [
        ["skill over copying", *map(float, skill)],
        *seeds.spread(each),
        ["effective rank of z", rank, None, None, None],
    ]
    report.tables.append(Table("latents", columns, rows))
    report.goals += [
        Goal("latent skill over copy, 64 steps", float(skill[-1]), ">=", 0.30),
        Goal(
            "effective rank of z", rank, ">=", width / 3, f"mean over channels, {windows} windows"
        ),
    ]


def _cost(report: Report, graph: Graph) -> None:
    """CPU time of prepare, graph and finish of 28 channels, on one core."""
    for hosts, rounds, what, unit, limit in (
        (1, 200, "ms a host-step, one core, 28 channels", 1.0, 2.0),
        (_TOGETHER, 20, "s a step of 1,000 hosts, one core, 28 channels", 1 / _TOGETHER, 2.0),
    ):
        values = np.random.default_rng(0).normal(size=(hosts, 28, 128)).cumsum(2)
        spent = []
        for _ in range(rounds):
            began = time.thread_time()
            now = prepare(values, np.ones(hosts))
            finish(now, graph(now.feeds))
            spent.append(1e3 * (time.thread_time() - began) * unit)
        report.goals.append(Goal(what, float(np.median(spent)), "<=", limit))
