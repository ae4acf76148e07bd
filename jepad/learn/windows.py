"""Windows from cuts: contexts, what came after, and the history before.

Owns: gathering by position. Does not know: why a position was chosen, tensors, the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.heads.history import AFTER, BEFORE, DAYS, History
from jepad.heads.prepare import CONTEXT, HORIZONS, Prepared, prepare
from jepad.learn.corpus import CHECKPOINTS, Cut
from jepad.records import Floats32

REACH = HORIZONS[-1]


@dataclass(frozen=True, slots=True)
class Windows:
    """B windows of C channels: 128 before and 64 after `now`, and the history."""

    path: Floats32  # [B, C, CONTEXT + REACH]; NaN = unknown
    dt_s: Floats32  # [B]
    best: Floats32  # [B, C, H]
    history: History


def gather(cuts: Sequence[Cut], at: Sequence[int], channels: Sequence[NDArray[np.intp]]) -> Windows:
    """Window i: `cuts[i]` with its newest known sample at[i], of `channels[i]`."""
    span = np.arange(-CONTEXT + 1, REACH + 1)
    paths, past, days = [], [], []
    for c, t, chosen in zip(cuts, at, channels, strict=True):
        paths.append(_rows(c.values, t + span, chosen))
        known = max(0, t - CONTEXT) * CHECKPOINTS // c.seen
        past.append(c.past[known][:, chosen])
        days.append(_days(c, t, chosen) if c.day else None)
    table = np.stack(past, 1)
    return Windows(
        path=np.stack(paths),
        dt_s=np.asarray([c.dt_s for c in cuts], np.float32),
        best=np.stack([c.best[chosen] for c, chosen in zip(cuts, channels, strict=True)]),
        history=History(table[0], table[1], table[2], _stack_days(days, len(channels[0]))),
    )


def _rows(values: Floats32, at: NDArray[np.intp], chosen: NDArray[np.intp]) -> Floats32:
    """[C, len(at)]; NaN beyond the trace's ends."""
    inside = (at >= 0) & (at < len(values))
    if inside.all() and at.ndim == 1:
        return np.ascontiguousarray(values[at[0] : at[-1] + 1, chosen].T)
    rows = values[np.clip(at, 0, len(values) - 1)][..., chosen]
    rows[~inside] = np.nan
    return np.moveaxis(rows, -1, 0)


def _days(c: Cut, t: int, chosen: NDArray[np.intp]) -> Floats32:
    back = np.arange(1, DAYS + 1)[:, None] * c.day
    at = t + np.arange(-BEFORE + 1, AFTER + 1)[None] - back
    at = np.where(at > t, -1, at)  # a day shorter than the horizon shows no future
    return _rows(c.values, at, chosen)


def _stack_days(days: list[Floats32 | None], channels: int) -> Floats32 | None:
    if all(d is None for d in days):
        return None
    none = np.full((channels, DAYS, BEFORE + AFTER), np.nan, np.float32)
    return np.stack([none if d is None else d for d in days])


def prepare_now(w: Windows) -> Prepared:
    """The model's inputs at `now`."""
    return prepare(w.path[..., :CONTEXT], w.dt_s, w.history)


def futures(w: Windows, prepared: Prepared) -> tuple[Floats32, Floats32, Floats32]:
    """What came: values at the horizons, whether the threshold was passed, whether it is known."""
    after = w.path[..., CONTEXT:]
    actual = np.stack([after[..., h - 1] for h in HORIZONS], -1)
    above = np.stack([np.fmax.reduce(after[..., :h], axis=-1) for h in HORIZONS], -1)
    rises = (above > prepared.q97[..., None]).astype(np.float32)
    known = (
        np.isfinite(above) & (prepared.last <= prepared.q97)[..., None] & prepared.usable[..., None]
    )
    return actual, rises, known.astype(np.float32)
