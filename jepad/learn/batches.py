"""Windows to tensors: the model's inputs, the target encoder's, and the answers.

Owns: the units of the loss. Does not know: where windows come from.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepad.heads.history import History
from jepad.heads.prepare import CONTEXT, HORIZONS, Prepared, prepare
from jepad.jepa.trainer import Batch
from jepad.jepa.world import Feeds
from jepad.learn.windows import Windows, futures, prepare_now

#: No single answer counts more than this many of the best plain guess's mean errors,
#: no window's scale more than that many.
_WILDEST, _LOUDEST = 30.0, 10.0


def to_feeds(prepared: Prepared) -> Feeds:
    """As tensors, in the graph's order."""
    return Feeds(*(torch.from_numpy(prepared.feeds[name]) for name in Feeds._fields))


def to_batch(w: Windows, horizon: int) -> Batch:
    """Inputs, the window `HORIZONS[horizon]` later for the target encoder, and the answers."""
    now = prepare_now(w)
    h = HORIZONS[horizon]
    past = History(w.history.mean, w.history.sd, w.history.q97)
    later = prepare(w.path[..., h : h + CONTEXT], w.dt_s, past)
    actual, rises, known = futures(w, now)
    steps = (actual - now.last[..., None]) / now.scale
    ok = np.isfinite(steps) & now.usable[..., None]
    steps = np.where(ok, steps, 0)
    weight = np.minimum(now.scale / w.best, _WILDEST / np.maximum(np.abs(steps), 1e-6))
    return Batch(
        feeds=to_feeds(now),
        later=to_feeds(later),
        horizon=horizon,
        actual=_tensor(steps),
        weight=_tensor(np.where(ok, np.minimum(weight, _LOUDEST), 0)),
        rises=_tensor(rises),
        known=_tensor(known),
    )


def _tensor(a: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32))
