"""How good a graph's forecasts are on hosts and times that training never saw.

Owns: where to score, running a graph there, one row of figures. Does not know: which runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.heads.forecast import finish
from jepad.heads.history import History
from jepad.heads.prepare import CONTEXT, HORIZONS, prepare
from jepad.learn import metrics
from jepad.learn.corpus import Cut
from jepad.learn.windows import REACH, Windows, futures, gather, prepare_now

Array = NDArray[np.floating]
Graph = Callable[[Mapping[str, NDArray[np.float32]]], Mapping[str, NDArray[np.float32]]]
#: A channel counts where it moves in at least this share of the scored steps.
ACTIVE = 0.02
_BATCH = 32
_CALIBRATION = 3000  # answers that persistence's residual quantiles rest on


@dataclass(frozen=True, slots=True)
class Place:
    """Evenly spaced windows of one host, in time after training."""

    cut: Cut
    windows: Windows
    channels: list[int]  # of the cut, those that move

    def __len__(self) -> int:
        """Windows."""
        return len(self.windows.path)


@dataclass(frozen=True, slots=True)
class Told:
    """What a graph said at a place, and what came."""

    quantiles: Array  # [B, C, H, 3]
    p_rise: Array  # [B, C, H]
    last: Array  # [B, C]
    actual: Array  # [B, C, H]; NaN = unknown
    rises: NDArray[np.bool_]  # [B, C, H]
    known: NDArray[np.bool_]  # [B, C, H]: below q97 now, and what came was seen


def places(cuts: Sequence[Cut], count: int) -> list[Place]:
    """At most `count` windows a host, from `cut.end` on, of the channels that move there."""
    out = []
    for c in cuts:
        first, last = max(c.end, CONTEXT), c.seen - REACH - 1
        if last - first < 2 * metrics.FEWEST:
            continue
        moves = np.nan_to_num(np.abs(np.diff(c.values[c.end :], axis=0))) > 0
        active = np.flatnonzero(moves.mean(0) > ACTIVE)
        if not len(active):
            continue
        at = np.unique(np.linspace(first, last, min(count, last - first)).astype(int))
        windows = gather([c] * len(at), at.tolist(), [active] * len(at))
        out.append(Place(c, windows, active.tolist()))
    return out


def part(windows: Windows, rows: slice) -> Windows:
    """Some of the windows."""
    h = windows.history
    days = None if h.days is None else h.days[rows]
    history = History(h.mean[rows], h.sd[rows], h.q97[rows], days)
    return Windows(windows.path[rows], windows.dt_s[rows], windows.best[rows], history)


def tell(graph: Graph, place: Place) -> Told:
    """Run the graph at a place."""
    pieces = []
    for i in range(0, len(place), _BATCH):
        windows = part(place.windows, slice(i, i + _BATCH))
        now = prepare_now(windows)
        said = finish(now, graph(now.feeds))
        actual, rises, known = futures(windows, now)
        pieces.append((said.quantiles, said.p_rise, now.last, actual, rises > 0, known > 0))
    return Told(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def forecast_figures(told: Sequence[Told], calibrated: Sequence[Array]) -> dict[str, Array]:
    """relMAE; pinball ÷ that of persistence with its residual quantiles [C, H, 3]; coverage."""
    plain = [
        metrics.pinball(t.actual, t.last[..., None, None] + q)
        for t, q in zip(told, calibrated, strict=True)
    ]
    mine = [metrics.pinball(t.actual, t.quantiles) for t in told]
    return {
        "relmae": relative([t.quantiles[..., 1] for t in told], told),
        "pinball": metrics.ratio(mine, plain),
        "coverage": metrics.coverage([t.actual for t in told], [t.quantiles for t in told]),
    }


def relative(medians: Sequence[Array], told: Sequence[Told]) -> Array:
    """MAE ÷ persistence's, geometric mean over host and channel: [H]."""
    mine = [np.abs(t.actual - m) for t, m in zip(told, medians, strict=True)]
    return metrics.ratio(mine, [np.abs(t.actual - t.last[..., None]) for t in told])


def event_figures(scores: Sequence[Array], told: Sequence[Told]) -> dict[str, Array]:
    """Mean AUROC and AP over channels that have both, and pooled recall at P >= .5: [H] each."""
    auroc, precision, recall = [], [], []
    for h in range(len(HORIZONS)):
        areas, averages = [], []
        for s, t in zip(scores, told, strict=True):
            for c in range(s.shape[1]):
                known = t.known[:, c, h]
                label = t.rises[known, c, h]
                if min(int(label.sum()), int((~label).sum())) >= 3:
                    areas.append(metrics.auroc(s[known, c, h], label))
                    averages.append(metrics.average_precision(s[known, c, h], label))
        pooled = np.concatenate(
            [s[..., h][t.known[..., h]] for s, t in zip(scores, told, strict=True)]
        )
        labels = np.concatenate([t.rises[..., h][t.known[..., h]] for t in told])
        auroc.append(np.mean(areas) if areas else np.nan)
        precision.append(np.mean(averages) if averages else np.nan)
        recall.append(metrics.recall_at(pooled, labels, 0.5) if len(labels) else np.nan)
    return {"auroc": np.array(auroc), "ap": np.array(precision), "recall": np.array(recall)}


def latent_figures(graph: Graph, where: Sequence[Place], most: int) -> tuple[Array, Array]:
    """Skill of z_hat over copying z, [H]; and z at each window, [N, D]. `most` windows a place.

    Skill is 1 - distance of what was predicted to what came ÷ distance of z now to what came.
    """
    missed, moved = np.zeros(len(HORIZONS)), np.zeros(len(HORIZONS))
    seen = []
    for place in where:
        every = -(-len(place) // most)
        thin = part(place.windows, slice(0, None, every))
        for i in range(0, len(thin.path), _BATCH):
            w = part(thin, slice(i, i + _BATCH))
            said = graph(prepare_now(w).feeds)
            past = History(w.history.mean, w.history.sd, w.history.q97)
            seen.append(said["z"])
            for j, h in enumerate(HORIZONS):
                came = graph(prepare(w.path[..., h : h + CONTEXT], w.dt_s, past).feeds)["z"]
                missed[j] += np.abs(said["z_hat"][:, j] - came).sum()
                moved[j] += np.abs(said["z"] - came).sum()
    return 1 - missed / np.maximum(moved, 1e-12), np.concatenate(seen)


def calibrated(place: Place) -> Array:
    """p10, p50, p90 of what persistence missed before scoring: [C, H, 3]."""
    before = place.cut.values[: place.cut.end, place.channels]
    every = max(1, len(before) // _CALIBRATION)
    misses = [before[h::every] - before[:-h:every] for h in HORIZONS]
    out = [np.nanquantile(m, metrics.LEVELS, axis=0) for m in misses]
    return np.moveaxis(np.stack(out), (0, 1, 2), (1, 2, 0))
