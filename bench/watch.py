"""How well what a camera tells ranks what people call unusual: every scene score, without a model
beside the motion baseline, and a random network.

Owns: the fight probe (grouped folds), labelled anomaly video (frame by frame), the goals.
Does not know: how a score is made (jepad/vision/motion.py, jepad/heads).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bench import videos, watch_frames
from bench import watch_signs as signs
from bench.ranking import Sure, auroc, bootstrapped, held_out
from bench.report import Cell, Goal, Options, Report, Table
from bench.videos import Clip
from jepad.vision.motion import Motions

#: Frames a second of the probe: its clips are of two seconds.
RATE = 8.0
DIFFERENCE, FLOW, BASELINE, RANDOM = (
    "frame difference", "flow", "motion baseline", "random-init encoder",
)  # fmt: skip
NO_FIGHT = "no fight/clips.csv in --data: python -m bench watch --data DIR"


def run(options: Options) -> Report:
    """The probe and the labelled video, as far as --data has them."""
    torch.set_num_threads(1)
    rounds = 300 if options.quick else 2000
    report = Report()
    _probe(videos.probe(options.data), rounds, report)
    training, testing = videos.labelled(options.data)
    goals, tables, notes = watch_frames.measured(training, testing, options.quick, rounds)
    report.goals += goals
    report.tables += tables
    report.notes += notes
    report.notes.append(
        "learned default: none ships, so none is called one; the baseline is labelled learned=false"
    )
    return report


def _probe(clips: list[Clip], rounds: int, report: Report) -> None:
    if not clips:
        names = (DIFFERENCE, FLOW, BASELINE)
        limits = (0.708, 0.767, 0.767)
        report.goals += [
            Goal(f"fight probe AUROC, {name}", None, ">=", limit, NO_FIGHT)
            for name, limit in zip(names, limits, strict=True)
        ]
        return
    features = described(clips)
    label = np.array([c.label for c in clips])
    groups = [c.group for c in clips]
    scores = {name: held_out(rows, label, groups) for name, rows in features.items()}
    figures = {name: ranked(score, label, groups, rounds) for name, score in scores.items()}
    report.goals += _goals(figures)
    rows: list[list[Cell]] = [
        [name, features[name].shape[1], f.value, f.low, f.high] for name, f in figures.items()
    ]
    rows += _beside(scores, label, groups, rounds)
    sources = len(set(groups))
    title = f"fight probe: {len(clips)} clips of {sources} sources, 5 folds by source"
    report.tables.append(Table(title, ["score", "features", "AUROC", "95 % low", "high"], rows))
    report.notes.append(
        f"fight probe: {RATE:g} frames/s, whole frames squeezed to {videos.SIZE}²; logistic probe,"
        " its strength chosen inside each fold; intervals draw whole sources. The descriptions"
        " of difference and flow were chosen by looking at these clips: somewhat optimistic"
    )


def described(clips: list[Clip]) -> dict[str, NDArray[np.float64]]:
    """Rows of features of every clip, by the name of what describes it."""
    rows: dict[str, list[NDArray[np.float64]]] = {DIFFERENCE: [], FLOW: [], RANDOM: []}
    for clip in clips:
        found = list(videos.frames(clip.path, RATE))
        motions = Motions(videos.SIZE)
        seen = [motions.see(frame.pixels, frame.time_s) for frame in found][1:]
        rows[DIFFERENCE].append(signs.differences(seen))
        rows[FLOW].append(signs.flows(seen))
        rows[RANDOM].append(signs.random_features(np.stack([f.pixels for f in found])))
    out = {name: np.stack(each) for name, each in rows.items()}
    out[BASELINE] = np.concatenate([out[DIFFERENCE], out[FLOW]], 1)
    return out


def ranked(
    score: NDArray[np.float64], label: NDArray[np.int64], groups: list[str], rounds: int
) -> Sure:
    """AUROC with its interval."""
    return bootstrapped(lambda at: auroc(score[at], label[at]), groups, rounds)


def _beside(
    scores: dict[str, NDArray[np.float64]],
    label: NDArray[np.int64],
    groups: list[str],
    rounds: int,
) -> list[list[Cell]]:
    """The baseline less each other one, drawn together."""
    best = scores[BASELINE]
    out: list[list[Cell]] = []
    for name in (DIFFERENCE, FLOW, RANDOM):
        other = scores[name]

        def gap(at: NDArray[np.intp], other: NDArray[np.float64] = other) -> float:
            return auroc(best[at], label[at]) - auroc(other[at], label[at])

        sure = bootstrapped(gap, groups, rounds)
        out.append([f"{BASELINE} − {name}", None, sure.value, sure.low, sure.high])
    return out


def _goals(figures: dict[str, Sure]) -> list[Goal]:
    limits = ((DIFFERENCE, 0.708), (FLOW, 0.767), (BASELINE, 0.767))
    return [
        Goal(f"fight probe AUROC, {name}", figures[name].value, ">=", limit, figures[name].interval)
        for name, limit in limits
    ]
