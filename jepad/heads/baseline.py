"""The forecast without a model: persistence, smoothing, trend and repetition, weighed by how
each would have done in the window itself.

Owns: those guesses, their weights, calibrated residual quantiles. Does not know: the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepad.heads.prepare import carried, period
from jepad.records import Floats

_LEVELS = (0.1, 0.5, 0.9)
_WIDEST = 2.0  # of eleven even residuals: p10 and p90 then lie 1.6 mean steps apart from p50
_DAY_S = 86400.0
_ALPHA = 0.3
#: Residuals of fewer origins than this say too little; a nearer horizon's are stretched.
_FEWEST = 12
_RHYTHM = 0.4  # autocorrelation from which a lag is believed
_WARM = 8  # steps before the first origin
#: A trend or a repetition found in a window has to beat plainer guesses by this much.
_DOUBT = np.array([1.0, 1.0, 1.5, 1.25])[:, None]


def baseline(values: Floats, dt_s: float, horizons: Sequence[int]) -> tuple[Floats, Floats]:
    """values [C, T] with NaN -> quantiles [C, H, 3] and p_rise [C, H]; always finite."""
    x = _finite(values)
    quantiles = np.empty((len(x), len(horizons), 3))
    p_rise = np.zeros((len(x), len(horizons)))
    if x.shape[1] < 2:
        quantiles[:] = x[:, -1:, None] if x.shape[1] else 0.0
        return quantiles, p_rise
    threshold = np.quantile(x, 0.97, axis=1)
    tracks = _tracks(x, _lags(x, dt_s))
    for i, h in enumerate(horizons):
        middle, residuals, stretch = _forecast(x, tracks, h)
        spread = np.quantile(residuals, _LEVELS, axis=1).T * stretch
        spread -= spread[:, 1:2]  # a window's drift is no bias to correct: it need not go on
        quantiles[:, i] = np.sort(middle[:, None] + spread, axis=1)
        above = middle[:, None] + residuals * stretch > threshold[:, None]
        p_rise[:, i] = above.mean(1)
    # Whatever rises within a horizon has risen within every longer one.
    return np.nan_to_num(quantiles), np.maximum.accumulate(p_rise, axis=1)


def _finite(values: Floats) -> Floats:
    x = carried(np.asarray(values, dtype=np.float64))[0]
    return np.clip(x, -1e300, 1e300)


def _lags(x: Floats, dt_s: float) -> NDArray[np.int64]:
    """Per channel the distance at which it repeats: a day where the window holds two."""
    day = round(_DAY_S / max(dt_s, 1e-3))
    if 64 < day <= x.shape[1] // 2:
        return np.full(len(x), day)
    level = np.abs(x - x.mean(1, keepdims=True)).mean(1) + 1e-12 * np.abs(x).max(1) + 1e-300
    lag, score = period(x - x[:, -1:], level)
    # One burst is no rhythm: where nothing was seen to repeat the last value stands in (lag 0).
    return np.asarray(np.where((score >= _RHYTHM) & (lag <= x.shape[1] // 2), lag, 0))


def _tracks(x: Floats, lag: NDArray[np.int64]) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """At each moment: the smoothed level and the slope; and the channel's lag."""
    level = np.empty_like(x)
    level[:, 0] = x[:, 0]
    for t in range(1, x.shape[1]):
        level[:, t] = level[:, t - 1] + _ALPHA * (x[:, t] - level[:, t - 1])
    back = np.maximum(np.arange(x.shape[1]) - 16, 0)
    run = np.maximum(np.arange(x.shape[1]) - back, 1)
    return level, (level - level[:, back]) / run, lag


def _forecast(
    x: Floats, tracks: tuple[Floats, Floats, NDArray[np.int64]], h: int
) -> tuple[Floats, Floats, float]:
    """Median [C], residuals [C, N] of the same mixture in the window, and their stretch."""
    length = x.shape[1]
    near = min(h, max(length - _WARM - _FEWEST, 1))
    origins = np.arange(min(_WARM, length - near - 1), length - near)
    guesses = _guesses(x, tracks, origins, near)  # [K, C, N]
    misses = x[:, origins + near][None] - guesses
    error = np.abs(misses).mean(2) * _DOUBT
    floor = 1e-9 * np.abs(x).max(1) + 1e-300
    weight = ((error + floor) / (error.min(0) + floor)) ** -6.0
    if len(origins) < _FEWEST:
        weight[1:] = 0  # nothing to judge by: the last value alone
    weight = weight / weight.sum(0)
    now = _guesses(x, tracks, np.array([length - 1]), h)[:, :, 0]
    if h > near:  # a trend is not followed farther than it could be tested
        now[2] = _guesses(x, tracks, np.array([length - 1]), near)[2, :, 0]
    residuals = (weight[:, :, None] * misses).sum(0)
    if len(origins) < _FEWEST:
        # So few say nothing of the width: as a random walk of the steps that were seen.
        step = np.abs(np.diff(x, axis=1)).mean(1, keepdims=True) * np.sqrt(near)
        residuals = step * np.linspace(-_WIDEST, _WIDEST, 11)
    # Residuals of a horizon half as long as the window are few in truth, and too alike.
    stretch = np.sqrt(h / near * (1 + near / (length - near)))
    return (weight * now).sum(0), residuals, float(stretch)


def _guesses(
    x: Floats,
    tracks: tuple[Floats, Floats, NDArray[np.int64]],
    origins: NDArray[np.int64],
    h: int,
) -> Floats:
    """[K, C, N]: the last value, the smoothed level, a damped trend, one lag earlier."""
    level, slope, lag = tracks
    damped = (1 - 0.97**h) / 0.03  # steps the trend still runs
    periods = -(-h // np.maximum(lag, 1))
    back = np.where(lag[:, None] > 0, origins[None] + h - (lag * periods)[:, None], origins[None])
    return np.stack(
        [
            x[:, origins],
            level[:, origins],
            x[:, origins] + slope[:, origins] * damped,
            np.take_along_axis(x, np.clip(back, 0, x.shape[1] - 1), 1),
        ]
    )
