"""Accidents that windows meet in training, so that the model has met them before it serves.

Owns: short contexts, lost samples, unknown history, flipped and moved channels.
Does not know: where windows come from.
"""

from __future__ import annotations

import numpy as np

from jepad.heads.history import DAYS, History
from jepad.heads.prepare import CONTEXT, SHORTEST
from jepad.learn.windows import Windows
from jepad.records import Floats32

Rng = np.random.Generator


def disturbed(w: Windows, rng: Rng) -> Windows:
    """The same windows after their accidents; the given arrays are overwritten."""
    path = _lose(_shorten(w.path, rng), rng)
    return _move(Windows(path, w.dt_s, w.best, _forget(w.history, rng)), rng)


def _shorten(path: Floats32, rng: Rng) -> Floats32:
    """The beginning not yet seen, down to the fewest samples the model may speak on."""
    rows = len(path)
    first = rng.integers(0, CONTEXT - SHORTEST + 1, rows)
    first = np.where(rng.random(rows) < 0.15, first, 0)
    path[np.broadcast_to((np.arange(path.shape[2]) < first[:, None])[:, None], path.shape)] = np.nan
    return path


def _lose(path: Floats32, rng: Rng) -> Floats32:
    """Samples missing here and there, never the newest."""
    for i in np.flatnonzero(rng.random(len(path)) < 0.08):
        lost = rng.random((path.shape[1], CONTEXT - 1)) < rng.uniform(0.02, 0.4)
        path[i, :, : CONTEXT - 1][lost] = np.nan
    return path


def _forget(h: History, rng: Rng) -> History:
    """No statistics for some, fewer earlier days for others."""
    rows = len(h.mean)
    unknown = (rng.random(rows) < 0.3)[:, None]
    mean, sd, q97 = (np.where(unknown, np.nan, a) for a in (h.mean, h.sd, h.q97))
    if h.days is None:
        return History(mean, sd, q97)
    kept = np.where(rng.random(rows) < 0.4, rng.integers(0, DAYS + 1, rows), DAYS)
    kept = np.where(rng.random(rows) < 0.1, 0, kept)
    gone = (np.arange(DAYS) >= kept[:, None])[:, None, :, None]
    return History(mean, sd, q97, np.where(gone, np.nan, h.days))


def _move(w: Windows, rng: Rng) -> Windows:
    """Some channels upside down, some at another level."""
    h, shape = w.history, w.path.shape[:2]
    sign = np.where(rng.random(shape) < 0.08, -1, 1).astype(np.float32)
    seen = np.nan_to_num(w.path[..., :CONTEXT])
    offset = np.where(rng.random(shape) < 0.15, 4 * rng.normal(size=shape) * seen.std(2), 0)
    offset = offset.astype(np.float32)
    days = h.days
    if days is not None:
        days = days * sign[..., None, None] + offset[..., None, None]
    # A flipped channel's q97 is not its q03: unknown.
    q97 = np.where(sign > 0, h.q97 + offset, np.nan)
    history = History(h.mean * sign + offset, h.sd, q97, days)
    return Windows(w.path * sign[..., None] + offset[..., None], w.dt_s, w.best, history)
