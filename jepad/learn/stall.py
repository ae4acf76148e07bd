"""`python -m jepad.learn.stall --data DIR... --out FILE`: weigh the signs of a memory stall.

Owns: the fit (non-negative logistic regression), where the bias goes so that alarms stay rare,
and the figures on traces left out of it. Does not know: what a sign is, what a stall is.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jepad.errors import JepadError, SettingError
from jepad.heads.stall_past import Past
from jepad.heads.stall_signs import ALONE, SIGNS, read_signs, scene
from jepad.heads.stall_weights import Weights
from jepad.learn.stall_onsets import WARN_S, Recording, Windows, mark, recordings, seconds
from jepad.learn.stall_tally import Tally, Told, held, tally
from jepad.records import Floats

LEAD_S = 30.0  # an onset is to be told from so long before it
HOLD_S = 3.0  # these three as config.Risk has them
RAISE_AT, CLEAR_AT = 0.7, 0.4
QUIET = 0.005  # the probability where there is no sign
_ALARMS_H = 10.0  # false ones an hour on these; in storms calm time is short, near misses many
_RIDGE = 0.03
_SURELY = 0.02  # log-odds beyond the limit
_HIGHEST = 6.0  # log-odds above those of no sign
_STEPS = 800


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


_RAISE, _QUIET = _logit(RAISE_AT), _logit(QUIET)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One recording as the fit sees it, a row a second."""

    recording: Recording
    t_s: Floats  # [N]
    signs: Floats  # [N, S]


def first_half(recording: Recording) -> Recording:
    """Its earlier half by time."""
    trace = recording.trace
    end = int(np.searchsorted(trace.t_s, (trace.t_s[0] + trace.t_s[-1]) / 2))
    cut = replace(trace, t_s=trace.t_s[:end], values=trace.values[:end])
    return mark(cut, recording.name, f"{recording.group}, first half")


def lesson(recording: Recording) -> Lesson:
    """Read the signs as a daemon would have."""
    windows, rows = Windows(recording.trace), seconds(recording.trace)
    signs = np.zeros((len(rows), len(SIGNS)))
    for n, row in enumerate(rows):
        seen = scene(Past(windows.at(int(row))), 0.0)
        found = read_signs(seen) if seen else {}
        signs[n] = [found[name].value if name in found else 0.0 for name in SIGNS]
    return Lesson(recording, recording.trace.t_s[rows], signs)


def targets(lesson: Lesson) -> tuple[NDArray[np.bool_], Floats]:
    """(an onset is near, how much the row counts): a storm's first onset counts one, its later
    ones together as much; a minute that leads to none counts a quarter, also just after a stall,
    or what is left of its pressure would pass for foresight. Stalled rows count nothing."""
    recording, t_s = lesson.recording, lesson.t_s
    until = recording.until(t_s)
    near = until <= LEAD_S
    counts = np.where(until > WARN_S, 0.25 / 60.0, 0.0)
    storm = np.cumsum(recording.first()) - 1
    for k, onset in enumerate(recording.onsets):
        rows = near & (until == onset - t_s)
        share = 1.0 if recording.first()[k] else 1.0 / max(int((storm == storm[k]).sum()) - 1, 1)
        counts[rows] = share / max(int(rows.sum()), 1)
    for onset, end in zip(recording.onsets, recording.ends, strict=True):
        counts[(t_s >= onset) & (t_s <= end)] = 0.0
    return near, counts


def fit(lessons: Sequence[Lesson]) -> Weights:
    """Weights by accelerated projected gradient; the same lessons give the same weights. Each
    group of recordings counts as much as any other, however long it was recorded."""
    x, y, counts = _stacked(lessons)
    step = 4.0 / float(np.linalg.eigvalsh((x * counts[:, None]).T @ x)[-1] + 4 * _RIDGE)
    w = ahead = np.zeros(x.shape[1])
    for k in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ ahead, -50, 50)))
        slope = (counts * (p - y)) @ x
        slope[1:] += _RIDGE * ahead[1:]
        new = ahead - step * slope
        new[1:] = np.maximum(new[1:], 0.0)
        w, ahead = new, new + k / (k + 3) * (new - w)
    names = dict(zip(SIGNS, w[1:], strict=True))
    return Weights(float(w[0]), {n: round(float(v), 4) for n, v in names.items() if v > 1e-3})


def _stacked(lessons: Sequence[Lesson]) -> tuple[Floats, Floats, Floats]:
    """(signs after a column of ones, whether an onset is near, how much each row counts). A
    group without stalls, or without a quiet minute, would only teach what tells its machine from
    others: it is left out."""
    parts: list[tuple[Floats, Floats, Floats]] = []
    for group in sorted({one.recording.group for one in lessons}):
        members = [one for one in lessons if one.recording.group == group]
        both = [targets(one) for one in members]
        near = np.concatenate([n for n, _ in both]).astype(float)
        counts = np.concatenate([c for _, c in both])
        rows = counts > 0
        if rows.any() and 0 < float(counts @ near) < float(counts.sum()):
            signs = np.concatenate([one.signs for one in members])
            signs[:, list(SIGNS).index(ALONE)] = 0.0
            parts.append((signs[rows], near[rows], counts[rows] / counts.sum()))
    if not parts:
        raise SettingError("no memory stall, or no calm time, in these traces: nothing to learn")
    x, y, shares = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return np.c_[np.ones(len(x)), x], y, shares / len(parts)


def log_odds(weights: Weights, lesson: Lesson) -> Floats:
    """Of every row."""
    out: Floats = weights.bias + lesson.signs @ np.array([weights.of.get(s, 0.0) for s in SIGNS])
    return out


def judged(lessons: Sequence[Lesson], weights: Weights, limit: float) -> Tally:
    """As the daemon's alerts would tell them, were `limit` the log-odds they are raised at."""
    clear = limit - (limit - weights.bias) * (_RAISE - _logit(CLEAR_AT)) / (_RAISE - _QUIET)
    told = []
    for one in lessons:
        on = held(one.t_s, log_odds(weights, one), (limit, clear), HOLD_S)
        told.append(Told(one.recording, one.t_s, on))
    return tally(told)


def choose_limit(lessons: Sequence[Lesson], weights: Weights) -> float:
    """The log-odds that warn of most stalls while false alarms stay few enough; the lowest such,
    for the longest lead."""
    best, most = weights.bias + _HIGHEST, -1.0
    for limit in np.arange(best, weights.bias, -0.05).tolist():
        result = judged(lessons, with_alone(weights, limit), limit)
        warned = float((result.leads > 0).sum())
        if result.alarms_h() <= _ALARMS_H and warned >= most:
            best, most = limit, warned
    return best


def with_alone(weights: Weights, limit: float) -> Weights:
    """With the sign that alone is enough weighing so much."""
    return Weights(weights.bias, {**weights.of, ALONE: limit - weights.bias + _SURELY})


def unseen(lessons: Sequence[Lesson]) -> dict[str, dict[str, float]]:
    """Figures of each group that has stalls, by weights and limit that never saw it; a group
    that is the only one to learn from is left out."""
    out: dict[str, dict[str, float]] = {}
    for group in sorted({one.recording.group for one in lessons}):
        members = [one for one in lessons if one.recording.group == group]
        others = [one for one in lessons if one.recording.group != group]
        if not any(len(one.recording.onsets) for one in members):
            continue
        try:
            weights = fit(others)
            limit = choose_limit(others, weights)
        except SettingError:
            continue
        out[group] = _figures(judged(members, with_alone(weights, limit), limit))
    return out


def _figures(result: Tally) -> dict[str, float]:
    begun = result.leads[result.first]
    return {
        "stalls": len(result.leads),
        "warned": int((result.leads > 0).sum()),
        "storms": len(begun),
        "storms warned": int((begun > 0).sum()),
        "false_per_hour": round(result.alarms_h(), 2),
        "calm_hours": round(result.hours, 2),
    }


def scaled(weights: Weights, limit: float) -> dict[str, object]:
    """The same order of risks, with alarms raised from `limit` on and next to none where no sign
    is seen: the fit's own base rate is that of its lessons, and no machine's."""
    steep = (_RAISE - _QUIET) / (limit - weights.bias)
    bias = _RAISE - steep * (limit - weights.bias)
    return {
        "bias": round(bias, 4),
        "weights": {name: round(steep * weight, 4) for name, weight in weights.of.items()},
    }


def learn(
    directories: Sequence[str], halves: Sequence[str] = (), without: Sequence[str] = ()
) -> dict[str, object]:
    """What goes in the file: the weights, what they were fitted on, the figures left out. Of the
    recordings in `halves` the later half is left for judging."""
    found, skipped = recordings(directories, split="train")
    early, more = recordings(halves, split="train")
    for why in skipped + more:
        print(f"skipped: {why}", file=sys.stderr)
    chosen = [*found, *map(first_half, early)]
    lessons = [lesson(one) for one in chosen if one.group not in without]
    weights = fit(lessons)
    limit = choose_limit(lessons, weights)
    weights = with_alone(weights, limit)
    return {
        **scaled(weights, limit),
        "fitted": {
            "recordings": sorted({one.recording.group for one in lessons}),
            "on these": _figures(judged(lessons, weights, limit)),
            "unseen": unseen(lessons),
        },
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, write, tell."""
    parser = argparse.ArgumentParser(prog="python -m jepad.learn.stall", description=__doc__)
    parser.add_argument("--data", metavar="DIR", nargs="+", required=True, help="recordings")
    parser.add_argument(
        "--half", metavar="DIR", nargs="+", default=[], help="of these the first half"
    )
    parser.add_argument("--without", metavar="GROUP", nargs="+", default=[], help="left out")
    parser.add_argument("--out", metavar="FILE", required=True, help="where the weights go")
    args = parser.parse_args(argv)
    try:
        table = learn(args.data, args.half, args.without)
        with open(args.out, "w") as file:
            file.write(json.dumps(table, indent=1) + "\n")
    except JepadError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(table["fitted"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
