"""LightGBM on lags, with and without the same time yesterday: the bar to beat.

Owns: its features, training and forecasts. Imports lightgbm only when asked to train.
Does not know: metrics, the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.baselines import filled
from jepad.heads.history import BEFORE
from jepad.heads.prepare import CONTEXT, HORIZONS
from jepad.learn.corpus import Cut
from jepad.learn.score import Place
from jepad.learn.windows import REACH, Windows, gather
from jepad.records import Floats32

_LAGS = (*range(1, 17), 20, 24, 32, 40, 48, 60, 64, 96, 127)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is trained on."""

    rows: int
    rounds: int
    leaves: int
    rate: float
    threads: int


FULL = Budget(200_000, 300, leaves=63, rate=0.06, threads=2)
#: One thread: on a busy machine more of them only wait for each other.
QUICK = Budget(16_000, 40, leaves=31, rate=0.15, threads=1)


@dataclass(frozen=True, slots=True)
class Boosted:
    """One booster a horizon for the median, and one for the event."""

    medians: Sequence[Any]
    events: Sequence[Any]
    season: bool

    def forecast(self, place: Place) -> Floats32:
        """Medians [B, C, H]."""
        last, scale = _scales(place.windows)
        shape = place.windows.path.shape[:2]
        steps = [
            m.predict(features(place.windows, i, self.season)).reshape(shape)
            for i, m in enumerate(self.medians)
        ]
        out = last[..., None] + np.stack(steps, -1) * scale[..., None]
        return np.asarray(out, np.float32)

    def rises(self, place: Place) -> Floats32:
        """Scores that the channel rises above its q97 within each horizon: [B, C, H]."""
        shape = place.windows.path.shape[:2]
        scores = [
            m.predict(features(place.windows, i, self.season)).reshape(shape)
            for i, m in enumerate(self.events)
        ]
        return np.asarray(np.stack(scores, -1), np.float32)


def _scales(windows: Windows) -> tuple[Floats32, Floats32]:
    context = filled(windows)
    spread = np.abs(context - context.mean(-1, keepdims=True)).mean(-1)
    return context[..., -1], np.maximum(spread, 1e-6)


def features(windows: Windows, horizon: int, season: bool) -> Floats32:
    """[B * C, F]: lags, means, spreads and distance to q97, all in the window's own scale."""
    context = filled(windows)
    last, scale = _scales(windows)
    rel = (context - last[..., None]) / scale[..., None]
    step = np.abs(np.diff(rel, axis=-1))
    columns = [rel[..., -1 - lag] for lag in _LAGS]
    columns += [rel[..., -k:].mean(-1) for k in (4, 8, 16, 32, 64, 128)]
    columns += [rel.max(-1), rel.min(-1), np.clip(last / scale, -100, 100)]
    columns += [step.mean(-1), step[..., -8:].mean(-1)]
    past = windows.history
    columns += [(past.q97 - last) / scale, (past.mean - last) / scale, past.sd / scale]
    if season:
        nowhere = np.full(last.shape, np.nan, np.float32)
        days = past.days
        for at in (BEFORE - 1 + HORIZONS[horizon], BEFORE - 1):
            value = nowhere if days is None else days[:, :, 0, at]
            columns.append((value - last) / scale)
    return np.stack(columns, -1).reshape(-1, len(columns)).astype(np.float32)


def train(cuts: Sequence[Cut], budget: Budget, season: bool, events: bool) -> Boosted:
    """Fit on the training time of `cuts`; rows are shared out evenly among them."""
    import lightgbm

    windows = _rows(cuts, budget.rows)
    medians, risers = [], []
    plain = {
        "num_leaves": budget.leaves,
        "learning_rate": budget.rate,
        "num_threads": budget.threads,
        "min_data_in_leaf": 50,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "seed": 0,
        "verbose": -1,
    }
    for i, h in enumerate(HORIZONS):
        x, y, weight = _stacked(windows, i, season)
        ok = np.isfinite(y)
        data = lightgbm.Dataset(x[ok], y[ok], weight=weight[ok])
        medians.append(lightgbm.train(plain | {"objective": "l1"}, data, budget.rounds))
        if events:
            label, known = _events(windows, h)
            data = lightgbm.Dataset(x[known], label[known])
            risers.append(lightgbm.train(plain | {"objective": "binary"}, data, budget.rounds // 2))
    return Boosted(medians, risers, season)


def _rows(cuts: Sequence[Cut], rows: int) -> list[Windows]:
    rng = np.random.default_rng(0)
    each = max(4, rows // len(cuts))
    out = []
    for c in cuts:
        channels = c.values.shape[1]
        count = max(2, each // channels)
        at = rng.integers(CONTEXT, c.end - REACH, count)
        out.append(gather([c] * count, at.tolist(), [np.arange(channels)] * count))
    return out


def _stacked(
    windows: list[Windows], horizon: int, season: bool
) -> tuple[Floats32, Floats32, Floats32]:
    xs, ys, weights = [], [], []
    for w in windows:
        last, scale = _scales(w)
        after = w.path[..., CONTEXT + HORIZONS[horizon] - 1]
        y = (after - last) / scale
        weight = np.minimum(scale / w.best[..., horizon], 30 / np.maximum(np.abs(y), 1e-6))
        xs.append(features(w, horizon, season))
        ys.append(y.ravel())
        weights.append(np.minimum(weight, 10).ravel())
    return np.concatenate(xs), np.concatenate(ys), np.nan_to_num(np.concatenate(weights))


def _events(windows: list[Windows], h: int) -> tuple[Floats32, np.ndarray[Any, np.dtype[np.bool_]]]:
    labels, known = [], []
    for w in windows:
        last, q97 = filled(w)[..., -1], w.history.q97
        top = np.fmax.reduce(w.path[..., CONTEXT : CONTEXT + h], axis=-1)
        labels.append((top > q97).ravel())
        known.append((np.isfinite(top) & np.isfinite(q97) & (last <= q97)).ravel())
    return np.concatenate(labels).astype(np.float32), np.concatenate(known)
