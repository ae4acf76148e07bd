"""The baseline for channels that began at different times.

Owns: how a channel's own beginning is found, and who has seen too little for a forecast.
Does not know: how a baseline is made, the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepad.heads.baseline import baseline
from jepad.records import Floats

#: Known values from which a forecast is made: eight samples, for a counter's first gives no rate.
FEWEST = 7
#: Steps without a value after which the last one is no longer as good as new.
_LAPSE = 8


def baselines(values: Floats, dt_s: float, horizons: Sequence[int]) -> tuple[Floats, Floats]:
    """values [C, T] with NaN -> quantiles [C, H, 3] and p_rise [C, H].

    Each channel is judged from its first sample on, for the time before it was no calm; one that
    has been silent is forecast from its last. NaN and 0 where fewer than FEWEST are known."""
    known = np.isfinite(values)
    spoken = known.sum(axis=1) >= FEWEST
    spans = _spans(known)
    quantiles = np.full((len(values), len(horizons), 3), np.nan)
    p_rise = np.zeros((len(values), len(horizons)))
    for start, unseen in {tuple(span) for span in spans[spoken].tolist()}:
        rows = spoken & (spans == (start, unseen)).all(axis=1)
        seen = values[rows, start : values.shape[1] - unseen]
        quantiles[rows], p_rise[rows] = baseline(seen, dt_s, [h + unseen for h in horizons])
    return quantiles, p_rise


def _spans(known: NDArray[np.bool_]) -> NDArray[np.intp]:
    """[C, 2]: where a channel begins, and how many steps it has been silent for.

    Both are rounded, by an eighth at most, so that channels nearly alike share one run, which is
    what a baseline costs."""
    whole = known.shape[1]
    if not whole:
        return np.zeros((len(known), 2), np.intp)
    length = whole - known.argmax(axis=1)
    step = np.maximum(length // 8, 1)
    start = whole - np.minimum(-(-length // step) * step, whole)
    unseen = known[:, ::-1].argmax(axis=1)
    step = np.maximum(unseen // 8, 1)
    unseen = np.where(unseen < _LAPSE, 0, unseen // step * step)
    return np.stack([start, unseen], axis=1)
