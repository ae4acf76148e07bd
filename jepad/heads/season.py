"""The same time on earlier days, as guesses and as one token of the model.

Owns: reading `History.days`. Does not know: how days are stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.heads.history import AFTER, BEFORE, DAYS, History
from jepad.records import Floats32

STEPS = (1, 4, 16, 64)
_POOL = 5  # samples a pooled season value covers: 80 samples give 16
FEED = 3 * (BEFORE + AFTER) // _POOL + len(STEPS) + 6

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Season:
    """Guesses [N, H] relative to the last value, and the season token's input [N, FEED]."""

    guesses: tuple[Array, ...]
    feed: Floats32


def season_of(history: History | None, last: Array, level: Floats32) -> Season:
    """Yesterday, the mean day, last week; zeros and a zero flag where none was seen."""
    rows = len(last)
    if history is None or history.days is None:
        none = np.zeros((rows, len(STEPS)), np.float32)
        return Season((none,) * 4, np.zeros((rows, FEED), np.float32))
    days = history.days.reshape(rows, DAYS, BEFORE + AFTER) - last[:, None, None]
    days = days.astype(np.float32)
    ok = np.isfinite(days)
    whole = ok.mean(2) > 0.9  # [N, DAYS]
    days = np.where(ok, days, 0)
    count = np.maximum(ok.sum(1), 1)
    mean = days.sum(1) / count  # [N, 80]
    spread = np.sqrt(np.maximum((days**2).sum(1) / count - mean**2, 0))
    first, week = days[:, 0], days[:, DAYS - 1]
    now = slice(BEFORE - 4, BEFORE)
    at = [BEFORE - 1 + h for h in STEPS]
    seen = whole.any(1)[:, None]
    smooth = np.stack([mean[:, max(a - 2, 0) : a + 3].mean(1) for a in at], 1)
    shifted = smooth - mean[:, now].mean(1)[:, None]
    guesses = tuple(np.where(seen, g, 0) for g in (first[:, at], smooth, week[:, at], shifted))
    parts = [np.arcsinh(_pooled(d) / level[:, None]) for d in (first, mean, week)]
    parts.append(np.log1p(spread[:, at] / level[:, None]))
    flags = np.stack(
        [
            whole[:, 0],
            whole[:, -1],
            whole.mean(1),
            seen[:, 0],
            np.log1p(np.abs(first[:, now].mean(1)) / level),
            np.log1p(np.abs(mean[:, now].mean(1)) / level),
        ],
        1,
    )
    feed = np.concatenate([*parts, flags], 1) * seen
    return Season(guesses, np.clip(feed, -12, 12).astype(np.float32))


def _pooled(curve: Array) -> Array:
    out: Array = curve.reshape(len(curve), -1, _POOL).mean(2)
    return out
