"""The figures forecasts are judged by.

Owns: their arithmetic. Does not know: who forecast, what was forecast.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
LEVELS = np.array([0.1, 0.5, 0.9], np.float32)
#: Answers a channel must have before its mean error counts.
FEWEST = 8


def ratio(errors: Sequence[Array], theirs: Sequence[Array]) -> Array:
    """Geometric mean over (host, channel) of mean error ÷ their mean error: [H].

    Each item [B, C, H] is one host; NaN = unknown.
    """
    logs = []
    for mine, other in zip(errors, theirs, strict=True):
        both = np.isfinite(mine) & np.isfinite(other)
        a = np.where(both, mine, 0).sum(0, dtype=np.float64)
        b = np.where(both, other, 0).sum(0, dtype=np.float64)
        good = (b > 0) & (both.sum(0) >= FEWEST)
        share = np.maximum(a, 1e-6 * b) / np.where(good, b, 1)
        logs.append(np.where(good, np.log(np.where(good, share, 1)), np.nan))
    table = np.concatenate(logs)
    known = np.isfinite(table)
    total = np.where(known, table, 0).sum(0) / np.maximum(known.sum(0), 1)
    return np.where(known.any(0), np.exp(total), np.nan)


def pinball(actual: Array, quantiles: Array) -> Array:
    """[...], [..., 3] -> [...], summed over p10, p50, p90."""
    error = actual[..., None] - quantiles
    out: Array = np.maximum(LEVELS * error, (LEVELS - 1) * error).sum(-1)
    return out


def coverage(actual: Sequence[Array], quantiles: Sequence[Array]) -> Array:
    """Mean over (host, channel) of the share of answers within p10..p90: [H]."""
    shares = []
    for a, q in zip(actual, quantiles, strict=True):
        known = np.isfinite(a)
        inside = known & (a >= q[..., 0]) & (a <= q[..., 2])
        count = known.sum(0)
        shares.append(np.where(count > 0, inside.sum(0) / np.maximum(count, 1), np.nan))
    out: Array = np.nanmean(np.concatenate(shares), axis=0)
    return out


def auroc(score: Array, label: NDArray[np.bool_]) -> float:
    """Chance that a positive scores above a negative; ties count half."""
    order = np.sort(score)
    rank = (np.searchsorted(order, score, "left") + np.searchsorted(order, score, "right") + 1) / 2
    positives = int(label.sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return float("nan")
    total = float(rank[label].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def curve(score: Array, label: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Precision and recall at each threshold, highest score first; ties are taken together."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(label[order])
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    return hits[last] / (last + 1), hits[last] / max(int(label.sum()), 1)


def average_precision(score: Array, label: NDArray[np.bool_]) -> float:
    """Area under precision over recall, by steps."""
    precision, recall = curve(score, label)
    return float((np.diff(recall, prepend=0) * precision).sum())


def recall_at(score: Array, label: NDArray[np.bool_], precision: float) -> float:
    """The largest recall at a precision of at least this much; 0 when it is never reached."""
    if not label.any():
        return float("nan")
    reached, recall = curve(score, label)
    return float(np.max(recall[reached >= precision], initial=0.0))


def effective_rank(z: Array) -> float:
    """exp of the entropy of the shares of singular values of [N, D], centred."""
    singular = np.linalg.svd(z - z.mean(0), compute_uv=False)
    share = singular / max(float(singular.sum()), 1e-12)
    share = share[share > 1e-12]
    return float(np.exp(-(share * np.log(share)).sum()))
