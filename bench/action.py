"""`python -m bench action [--data DIR]`: what actions were foretold to change, and what they did.

Owns: which episodes are judged and which teach the mean effects, the tables, the goal. Everything
is of seeds that no training saw. Does not know: how effects are foretold.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from bench.report import Cell, Goal, Options, Report, Table
from jepad.engine.onnx import load as load_graph
from jepad.errors import SettingError
from jepad.heads import rollout
from jepad.heads.forecast import Output, finish
from jepad.heads.guesses import KINDS
from jepad.heads.prepare import CONTEXT, HORIZONS, carried, prepare
from jepad.learn import outcomes
from jepad.learn.gym.episodes import NAME, read_manifest
from jepad.learn.outcomes import Rows, Verdict
from jepad.learn.score import Graph
from jepad.learn.twins import Event, events
from jepad.models.store import load as load_model
from jepad.records import Floats

_OURS = os.path.join(os.path.dirname(__file__), "..", "data", "gym")
_QUICK, _EVERY = 24, 4  # with --quick: episodes judged; every so many teach
#: Hops of a rollout: place of the horizon, and how often.
_HOPS = ((1, 4), (2, 4), (3, 2))


def run(options: Options) -> Report:
    """Judge the shipped model; goals are met or not, that is no error."""
    report = Report()
    directory = _directory(options.data, report)
    happened = _events(directory, "held", options.quick)
    taught = _events(directory, "train", options.quick) or _events(_OURS, "train", options.quick)
    if not happened or not taught:
        raise SettingError(f"{directory}: no episodes with twins, both held out and to learn from")
    model = load_model()
    backend = load_graph(model.onnx_path, model.digest)
    if "effects" not in backend.inputs:
        raise SettingError(f"{model.onnx_path}: knows no actions")
    judge(report, backend.infer, taught, happened)
    return report


def judge(report: Report, graph: Graph, taught: Sequence[Event], happened: Sequence[Event]) -> None:
    """Everything that is said of one graph."""
    told, asked = outcomes.rows(taught), outcomes.rows(happened)
    said = [foretell(graph, e) for e in happened]
    found = outcomes.verdicts(told, asked, np.concatenate(said))
    _notes(report, taught, happened, found)
    guessed = np.repeat(asked.guessed.sum(-1)[..., None], 3, -1)
    _effects(
        report, {"jepad int8": found, "plain guesses": outcomes.verdicts(told, asked, guessed)}
    )
    _by_series(report, found)
    _rollouts(report, graph, (told, happened))
    _latents(report, graph, happened)


def _directory(asked: str | None, report: Report) -> str:
    if asked and os.path.exists(os.path.join(asked, NAME)):
        return asked
    if asked:
        report.notes.append(f"{asked} has no {NAME}: judged on the repository's gym")
    return _OURS


def _events(directory: str, split: str, quick: bool) -> list[Event]:
    every = read_manifest(directory)
    chosen = [e for e in every if e.split == split and e.twin]
    if quick:
        chosen = chosen[:_QUICK] if split == "held" else chosen[::_EVERY]
    ids = {e.twin for e in chosen}
    return list(events(directory, chosen + [e for e in every if e.id in ids]))


def foretell(graph: Graph, event: Event) -> Floats:
    """p10, p50, p90 of the effect in the series' own units: [C, H, 3]."""
    now, unit = event.prepared()
    said = np.sort(graph(now.feeds)["effect"][0].astype(np.float64), axis=-1)
    return np.nan_to_num(said * unit[..., None])


def _notes(
    report: Report, taught: Sequence[Event], judged: Sequence[Event], found: Sequence[Verdict]
) -> None:
    counts = ", ".join(
        f"{kind} {sum(e.action.kind == kind for e in judged)} "
        f"({sum(e.action.kind == kind for e in taught)})"
        for kind in KINDS
    )
    report.notes += [
        f"judged: {len(judged)} actions of {len({e.episode.id for e in judged})} held-out "
        f"episodes, {len({e.episode.seed for e in judged})} seeds; taught the mean effects: "
        f"{len(taught)} actions of {len({e.episode.seed for e in taught})} seeds",
        f"judged (taught): {counts}",
        f"{len(found)} of (action, series, horizon) count: where, by the seeds that teach, the "
        "action does more than twins differ by chance, always with one sign or with the sign of "
        "a plain guess (3 standard errors); each as often as it was judged",
    ]


def _effects(report: Report, by: Mapping[str, Sequence[Verdict]]) -> None:
    """Error ÷ that of the mean effect, by kind and horizon."""
    found = by["jepad int8"]
    figures = [(name, verdicts, "ratio") for name, verdicts in by.items()]
    figures += [('"no effect"', found, "none"), ("covered by p10–p90", found, "coverage")]
    rows: list[list[Cell]] = []
    for kind in (*KINDS, "all"):
        for name, verdicts, what in figures:
            some = [v for v in verdicts if kind in ("all", v.key[0])]
            near = [[v for v in some if v.horizon == h] for h in range(len(HORIZONS))]
            cells = [outcomes.overall(each)[what] for each in (*near, some)]
            if some:
                rows.append([kind, name, sum(v.events for v in some), *cells])
    columns = ["action", "figure", "answers", *(f"{h} steps" for h in HORIZONS), "all"]
    report.tables.append(Table("error of the effect ÷ per-action mean effect's", columns, rows))
    total = outcomes.overall(found)
    report.goals += [
        Goal(
            "error of effects ÷ per-action mean effect's",
            total["ratio"],
            "<=",
            0.8,
            f"geometric mean; median {total['median']:.3f}, ratio of means {total['pooled']:.3f}",
        ),
        Goal(
            'error of effects ÷ "no effect"\'s',
            total["ratio"] / total["none"],
            "<",
            1.0,
            "geometric mean",
        ),
    ]


def _by_series(report: Report, found: Sequence[Verdict]) -> None:
    rows: list[list[Cell]] = []
    for key in sorted({v.key for v in found}):
        some = [v for v in found if v.key == key]
        told = outcomes.overall(some)
        most = max(v.events for v in some)
        rows.append([*key, most, told["ratio"], told["none"], told["coverage"]])
    columns = ["action", "series", "floor, pace", "events", "jepad int8", '"no effect"', "covered"]
    report.tables.append(Table("the same by series, over horizons", columns, rows))


def _rollouts(report: Report, graph: Graph, judged: tuple[Rows, Sequence[Event]]) -> None:
    """Several forecasts in a row beside one; errors in units of the effects' mean size."""
    told, happened = judged
    size, doing = outcomes.units(told), outcomes.clear(told)
    rows: list[list[Cell]] = []
    for place, hops in _HOPS:
        steps = HORIZONS[place] * hops
        at = min(place + 1, len(HORIZONS) - 1)
        errors: list[tuple[float, ...]] = []
        for event in happened:
            came = event.acted[:, CONTEXT - 1 + steps] - event.idle[:, CONTEXT - 1 + steps]
            if not np.isfinite(came).any():
                continue
            rolled = _rolled(graph, event, place, hops)
            once = foretell(graph, event)[:, at, 1]
            for i, name in enumerate(event.names):
                key = outcomes.key_of(name, event)
                if np.isfinite(came[i]) and key in doing and doing[key][at]:
                    unit = size[key][at]
                    missed = (abs(came[i] - x) / unit for x in (rolled[i, 1], once[i], 0.0))
                    errors.append((*missed, float(rolled[i, 0] <= came[i] <= rolled[i, 2])))
        means: list[Cell] = list(np.mean(errors, 0).tolist()) if errors else [None] * 4
        rows.append([f"{hops} × {HORIZONS[place]}", steps, len(errors), *means])
    columns = ["rollout", "steps ahead", "answers", "error", f"at most {HORIZONS[-1]} at once"]
    columns += ['"no effect"', "covered"]
    report.tables.append(Table("effects by rollout, in their mean sizes", columns, rows))


def _rolled(graph: Graph, event: Event, place: int, hops: int) -> Floats:
    """p10, p50, p90 of the effect after so many forecasts of one horizon in a row: [C, 3]."""
    now, unit = event.prepared()
    said = graph(now.feeds)
    effect = np.sort(said["effect"][0].astype(np.float64), -1) * unit[..., None]
    begun = stage = rollout.first(rollout.Told(finish(now, said).quantiles[0], effect))
    paths = [event.context[0], event.context[0]]
    step = HORIZONS[place]
    for _ in range(hops - 1):
        last = np.stack([carried(path)[0][:, -1] for path in paths]).astype(np.float64)
        before = stage.at(last, step)
        pairs = zip(paths, (stage.without, stage.acted), strict=True)
        paths = [rollout.extended(path, ahead, step) for path, ahead in pairs]
        idle, acted = (_onward(graph, path, event.dt_s).quantiles[0] for path in paths)
        stage = rollout.later(begun, before, idle, rollout.Told(acted))
    out: Floats = stage.difference[:, place]
    return out


def _onward(graph: Graph, path: Floats, dt_s: float) -> Output:
    now = prepare(path[None], np.array([dt_s]))
    return finish(now, graph(now.feeds))


def _latents(report: Report, graph: Graph, happened: Sequence[Event]) -> None:
    """How far z_hat is from the embedding of the acted machine, told of the action or not."""
    apart = np.zeros((2, len(HORIZONS)))
    for event in happened:
        now, _ = event.prepared()
        blank = {k: np.zeros_like(now.feeds[k]) for k in ("action", "effects")}
        said = [graph(now.feeds)["z_hat"][0], graph(now.feeds | blank)["z_hat"][0]]
        for j, h in enumerate(HORIZONS):
            if not np.isfinite(event.acted[:, CONTEXT - 1 + h]).any():
                continue
            path = event.acted[None, :, h : h + CONTEXT]
            came = graph(prepare(path, np.array([event.dt_s])).feeds)["z"][0]
            apart[:, j] += [np.abs(z[j] - came).mean() for z in said]
    share = apart[0] / np.maximum(apart[1], 1e-12)
    columns = ["figure", *(f"{h} steps" for h in HORIZONS)]
    row: list[Cell] = ["distance to what came ÷ that of z_hat not told", *map(float, share)]
    report.tables.append(Table("latents, told of the action", columns, [row]))
    report.goals.append(
        Goal("latent distance, told of the action ÷ not told, 64 steps", float(share[-1]), "<", 1.0)
    )
