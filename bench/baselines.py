"""Classical forecasters: persistence, seasonal naive, EWMA, local ridge.

Owns: each as a function of windows to medians [B, C, H]. Does not know: metrics, the model.
"""

from __future__ import annotations

import numpy as np

from jepad.heads.history import BEFORE
from jepad.heads.prepare import CONTEXT, HORIZONS
from jepad.learn.score import Place
from jepad.learn.windows import REACH, Windows
from jepad.records import Floats32

_LAGS = 32
_ALPHAS = (0.1, 0.2, 0.4, 0.6, 0.8)


def filled(windows: Windows) -> Floats32:
    """Contexts [B, C, 128], missing samples as the last one seen (0 at first)."""
    context = windows.path[..., :CONTEXT]
    ok = np.isfinite(context)
    at = np.maximum.accumulate(np.where(ok, np.arange(CONTEXT), 0), axis=-1)
    return np.nan_to_num(np.take_along_axis(context, at, -1))


def persistence(place: Place) -> Floats32:
    """The last value."""
    return np.repeat(filled(place.windows)[..., -1:], len(HORIZONS), -1)


def seasonal(place: Place) -> Floats32:
    """The same time yesterday; the last value where no yesterday was recorded."""
    plain, days = persistence(place), place.windows.history.days
    if days is None:
        return plain
    yesterday = days[:, :, 0][..., [BEFORE - 1 + h for h in HORIZONS]]
    return np.where(np.isfinite(yesterday), yesterday, plain)


def ewma(place: Place) -> Floats32:
    """Exponential smoothing, its rate the best of five for each channel on one-step errors."""
    context = filled(place.windows)
    levels, errors = [], []
    for alpha in _ALPHAS:
        level, error = context[..., 0], np.zeros(context.shape[:2])
        for step in range(1, CONTEXT):
            error += np.abs(context[..., step] - level)
            level = level + alpha * (context[..., step] - level)
        levels.append(level)
        errors.append(error)
    best = np.argmin(np.stack(errors), axis=0)
    out = np.take_along_axis(np.stack(levels), best[None], 0)[0]
    return np.repeat(out[..., None], len(HORIZONS), -1).astype(np.float32)


def ridge(place: Place) -> Floats32:
    """Linear in 32 lags and their means, fitted on the host's own time before scoring."""
    context = filled(place.windows)
    model = _fit_ridge(place)
    x, scale = _lags(context.reshape(-1, CONTEXT))
    steps = (x @ model) * scale[:, None]
    out = context[..., -1:] + steps.reshape(*context.shape[:2], len(HORIZONS))
    return out.astype(np.float32)


def _fit_ridge(place: Place) -> Floats32:
    cut, channels = place.cut, place.channels
    ends = np.linspace(CONTEXT, cut.end - REACH - 1, 400).astype(int)
    paths = np.stack([cut.values[e - CONTEXT : e + REACH, channels].T for e in np.unique(ends)])
    paths = np.nan_to_num(paths.reshape(-1, CONTEXT + REACH))
    x, scale = _lags(paths[:, :CONTEXT])
    y = np.stack([paths[:, CONTEXT + h - 1] - paths[:, CONTEXT - 1] for h in HORIZONS], 1)
    y = np.clip(y / scale[:, None], -20, 20)
    return np.asarray(np.linalg.solve(x.T @ x + 30 * np.eye(x.shape[1]), x.T @ y), np.float32)


def _lags(context: Floats32) -> tuple[Floats32, Floats32]:
    rel = context - context[:, -1:]
    scale = np.maximum(np.abs(rel - rel.mean(1, keepdims=True)).mean(1), 1e-6)
    means = [rel[:, -k:].mean(1, keepdims=True) for k in (8, 16, 64, 128)]
    return np.concatenate([rel[:, -_LAGS:-1], *means], 1) / scale[:, None], scale
