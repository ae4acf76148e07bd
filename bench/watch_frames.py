"""Labelled anomaly video: every scene score of every frame, over all frames and video by video.

Owns: what is kept of the normal videos, the scores, micro and macro figures.
Does not know: where videos lie (videos.py).
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import videos
from bench import watch_signs as signs
from bench.ranking import Sure, auroc, bootstrapped
from bench.report import Cell, Goal, Table
from bench.videos import Labelled
from jepad.errors import SettingError
from jepad.heads.sight.surprise import Surprise
from jepad.vision.motion import Motion, Motions

Array = NDArray[np.float64]

PEAK, MEAN, MOVING, SPEED, FLOWS, SURPRISE, RANDOM = (
    "frame difference, max cell", "frame difference, mean", "share of moving cells",
    "flow, fastest cell", "flow histograms, nearest normal frame", "surprise (motion baseline)",
    "random-init encoder, farthest token",
)  # fmt: skip
NAMES = (PEAK, MEAN, MOVING, SPEED, FLOWS, SURPRISE, RANDOM)
NONE = "no training/ and testing/ in --data: python -m bench watch --data DIR"
#: Normal frames and tokens kept to compare with.
FRAMES, TOKENS = 2000, 4000
_NEAREST = 3


class Step(NamedTuple):
    """A frame, its motion, and the frames before it that a window holds."""

    frame: videos.Frame
    motion: Motion
    window: deque[videos.Frames]


class Normal(NamedTuple):
    """What the normal videos taught."""

    surprise: Surprise
    flows: Array  # [N, F]
    tokens: NDArray[np.float32]  # [M, D]


def measured(
    training: Sequence[str], testing: Sequence[Labelled], quick: bool, rounds: int
) -> tuple[list[Goal], list[Table], list[str]]:
    """Goals, tables and notes; goals without values where there is no labelled video."""
    if not testing:
        return _goals({}), [], []
    every = 8 if quick else 2
    normal = learned(training, every)
    scores = [scored(video, normal, every) for video in testing]
    micro, rows = {}, list[list[Cell]]()
    for name in NAMES:
        pairs = [(s[name], v.label) for s, v in zip(scores, testing, strict=True)]
        sure = over_frames(pairs, rounds)
        each = [auroc(score, label) for score, label in pairs]
        known = [value for value in each if np.isfinite(value)]
        macro = float(np.mean(known)) if known else None
        rows.append([name, sure.value, sure.low, sure.high, macro, len(known)])
        micro[name] = sure.value
    frames = sum(len(v.label) for v in testing)
    title = f"labelled video: {frames} frames of {len(testing)} videos, {len(training)} normal ones"
    columns = ["score", "AUROC, micro", "95 % low", "high", "macro", "videos with both labels"]
    note = (
        f"labelled video: every frame, squeezed to {videos.SIZE}², nothing smoothed; intervals"
        f" draw whole videos; the random encoder sees a window every {every} frames"
    )
    return _goals(micro), [Table(title, columns, rows)], [note]


def learned(training: Sequence[str], every: int) -> Normal:
    """From normal video alone."""
    surprise, flows, tokens = Surprise(), list[Array](), list[NDArray[np.float32]]()
    for path in training:
        surprise.resume()
        for step in steps(path):
            surprise.see(step.motion, step.frame.time_s)
            flows.append(signs.bands(step.motion))
            if step.frame.number % every == 0 and len(step.window) == signs.TINY.frames:
                tokens.append(signs.tokens(np.stack(list(step.window))))
    if not flows or not tokens:
        raise SettingError(f"normal video of fewer than {signs.TINY.frames} frames teaches nothing")
    return Normal(surprise, _few(np.stack(flows), FRAMES), _few(np.concatenate(tokens), TOKENS))


def scored(video: Labelled, normal: Normal, every: int) -> dict[str, Array]:
    """Every score of every frame; SettingError where there are not as many labels."""
    surprise = copy.deepcopy(normal.surprise)
    surprise.resume()
    out: dict[str, list[float]] = {name: [] for name in NAMES}
    last = 0.0
    for step in steps(video.path):
        motion = step.motion
        out[PEAK].append(motion.peak)
        out[MEAN].append(float(motion.score.mean()))
        out[MOVING].append(motion.changed)
        out[SPEED].append(float(np.hypot(motion.flow[..., 0], motion.flow[..., 1]).max()))
        out[FLOWS].append(float(_distance(signs.bands(motion)[None], normal.flows)[0]))
        out[SURPRISE].append(surprise.see(motion, step.frame.time_s).score)
        if step.frame.number % every == 0 and len(step.window) == signs.TINY.frames:
            found = signs.tokens(np.stack(list(step.window)))
            last = float(_distance(found, normal.tokens).max())
        out[RANDOM].append(last)
    if len(out[PEAK]) != len(video.label):
        raise SettingError(f"{video.path}: {len(out[PEAK])} frames and {len(video.label)} labels")
    return {name: np.array(values) for name, values in out.items()}


def steps(path: str) -> Iterator[Step]:
    """Every frame of a video; the first one's motion is told as the second's."""
    motions = Motions(videos.SIZE)
    window: deque[videos.Frames] = deque(maxlen=signs.TINY.frames)
    held: Step | None = None
    for frame in videos.frames(path):
        window.append(frame.pixels)
        now = Step(frame, motions.see(frame.pixels, frame.time_s), window)
        if frame.number == 0:
            held = now
            continue
        if held is not None:
            yield held._replace(motion=now.motion)
            held = None
        yield now


def over_frames(pairs: Sequence[tuple[Array, NDArray[np.int64]]], rounds: int) -> Sure:
    """Micro AUROC; whole videos are drawn."""
    score = np.concatenate([s for s, _ in pairs])
    label = np.concatenate([one for _, one in pairs])
    video = np.repeat(np.arange(len(pairs)), [len(s) for s, _ in pairs])
    return bootstrapped(lambda at: auroc(score[at], label[at]), video.tolist(), rounds)


def _distance(rows: NDArray[np.floating], known: NDArray[np.floating]) -> Array:
    """Mean distance of each row to its nearest known ones."""
    squared = (rows**2).sum(1)[:, None] - 2 * rows @ known.T + (known**2).sum(1)
    few = min(_NEAREST, len(known))
    near = np.partition(squared, few - 1, axis=1)[:, :few]
    return np.asarray(np.sqrt(np.maximum(near, 0)).mean(1), np.float64)


def _few(rows: NDArray[Any], most: int) -> NDArray[Any]:
    """At most so many, evenly spread."""
    chosen = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    out: NDArray[Any] = rows[chosen]
    return out


def _goals(micro: dict[str, float]) -> list[Goal]:
    note = "the goal is UCSD Ped2's" if micro else NONE
    limits = ((PEAK, 0.935), (FLOWS, 0.866))
    return [
        Goal(f"labelled video AUROC, {name}", micro.get(name), ">=", limit, note)
        for name, limit in limits
    ]
