"""How good forecasts are on hosts and times that training never saw.

Owns: where to score, the metrics. Does not know: which forecaster is scored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jepad.heads.prepare import CONTEXT
from jepad.learn.corpus import Cut
from jepad.learn.windows import REACH, Windows, gather
from jepad.records import Floats32

#: A channel counts where it moves in at least this share of the scored steps.
ACTIVE = 0.02


@dataclass(frozen=True, slots=True)
class Place:
    """Evenly spaced windows of one host, in time after training."""

    cut: Cut
    windows: Windows


def places(cuts: list[Cut], count: int) -> list[Place]:
    """At most `count` windows a host, from `cut.end` on, of the channels that move there."""
    out = []
    for c in cuts:
        first, last = max(c.end, CONTEXT), c.seen - REACH - 1
        if last - first < 8:
            continue
        moves = np.nan_to_num(np.abs(np.diff(c.values[c.end :], axis=0))) > 0
        active = np.flatnonzero(moves.mean(0) > ACTIVE)
        if not len(active):
            continue
        at = np.unique(np.linspace(first, last, min(count, last - first)).astype(int))
        at_start = [c] * len(at)
        windows = gather(at_start, at.tolist(), [active] * len(at))
        # History is what was known when training ended, for every window alike.
        out.append(Place(c, windows))
    return out


def ratio(errors: list[Floats32], persistence: list[Floats32]) -> Floats32:
    """Geometric mean over (host, channel) of mean error ÷ persistence's: [H].

    Each item [B, C, H] is one host; NaN = unknown.
    """
    logs = []
    for mine, theirs in zip(errors, persistence, strict=True):
        both = np.isfinite(mine) & np.isfinite(theirs)
        a = np.where(both, mine, 0).sum(0)
        b = np.where(both, theirs, 0).sum(0)
        good = (b > 0) & (both.sum(0) >= 8)
        logs.append(np.where(good, np.log(np.maximum(a, 1e-6 * b + 1e-30) / np.where(good, b, 1)), np.nan))
    return np.exp(np.nanmean(np.concatenate(logs), axis=0))  # type: ignore[no-any-return]
