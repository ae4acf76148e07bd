"""VUS-PR: how well a score ranks anomalies, with tolerance for where their edges were drawn.

Owns: the arithmetic of Paparrizos et al., "Volume Under the Surface", VLDB 2022, as the authors'
package computes it. Does not know: who scored, what was scored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Flags = NDArray[np.bool_]
Bounds = NDArray[np.intp]  # [E, 2]: first and last sample of each event

#: The widest tolerance, in samples, and the thresholds tried: the authors' defaults.
WINDOW, THRESHOLDS = 100, 250


def vus_pr(score: Array, label: Flags, window: int = WINDOW) -> float:
    """Mean over tolerances 0..window of the area under precision over recall; NaN without events.

    Before and after each event the label falls off over half the tolerance; recall is scaled by
    the share of events that are touched at all.
    """
    label = np.asarray(label, bool)
    if not label.any():
        return float("nan")
    score = np.asarray(score, np.float64)
    at = np.linspace(0, len(score) - 1, THRESHOLDS).astype(int)
    limits = -np.sort(-score)[at]
    # The first threshold at which each sample is told, for thresholds fall.
    first = np.searchsorted(-limits, -score, "left")
    found = events(label)
    told = _reached(first, np.ones(len(score)))
    hits = _reached(first, label.astype(float))
    areas = [_area(w, found, label, (first, told, hits)) for w in range(window + 1)]
    return float(np.mean(areas))


def events(label: Flags) -> Bounds:
    """First and last sample of every run of True."""
    edges = np.diff(label.astype(np.int8), prepend=0, append=0)
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1], 1)


def _reached(first: NDArray[np.intp], weight: Array) -> Array:
    """The weight of the samples told at each threshold."""
    out: Array = np.cumsum(np.bincount(first, weight, THRESHOLDS)[:THRESHOLDS])
    return out


def _area(
    window: int, found: Bounds, label: Flags, at: tuple[NDArray[np.intp], Array, Array]
) -> float:
    first, told, hits = at
    near = _slopes(len(label), found, window)
    outside = np.flatnonzero((near > 0) & ~label)
    extra = _reached(first[outside], near[outside])
    recall = np.minimum((hits + extra) / (label.sum() + extra / 2), 1)
    recall *= _touched(first, found, window)
    precision = (hits + extra) / told
    return float((np.diff(recall, prepend=0) * precision).sum())


def _slopes(length: int, found: Bounds, window: int) -> Array:
    """What a sample beside an event still counts: sqrt(1 - distance ÷ window), at most 1."""
    out = np.zeros(length)
    for distance in range(1, window // 2 + 1):
        worth = np.sqrt(1 - distance / window)
        for place in (found[:, 0] - distance, found[:, 1] + distance):
            out[place[(place >= 0) & (place < length)]] += worth
    return np.minimum(out, 1)


def _touched(first: NDArray[np.intp], found: Bounds, window: int) -> Array:
    """The share of events, widened and joined where they meet, that are told at each threshold."""
    half = window // 2
    starts, ends = found[:, 0] - half, found[:, 1] + half
    apart = ends[:-1] < starts[1:]
    starts, ends = starts[np.append(True, apart)], ends[np.append(apart, True)]
    bounds = np.stack([np.maximum(starts, 0), ends + 1], 1).ravel()
    inside = np.minimum.reduceat(np.append(first, THRESHOLDS), np.minimum(bounds, len(first)))[::2]
    return _reached(inside, np.ones(len(inside))) / len(inside)
