"""From raw windows to the model's inputs: the one implementation, for training and serving.

Owns: filling, robust scales, patches' inputs, window statistics, anchors. Pure numpy.
Does not know: the network, the files, the names of channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.heads.history import History
from jepad.heads.season import Season, season_of
from jepad.records import Floats32

CONTEXT = 128
HORIZONS = (1, 4, 16, 64)
#: Samples from which the model may speak; a shorter context is the baseline's.
SHORTEST = 16
STATS, ANCHORS, INPUTS = 42, 15, 3
ACTION, EFFECTS = 24, 6
_CLIP = 30.0

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The graph's inputs, and what `finish` needs to bring its outputs back."""

    feeds: dict[str, Floats32]  # x, valid, stats, anchors, season, action, effects
    last: Array  # [B, C]
    scale: Array  # [B, C, H]: units of the outputs
    q97: Array  # [B, C]: the threshold p_rise is about
    usable: NDArray[np.bool_]  # [B, C]: enough samples for the model to speak


@dataclass(frozen=True, slots=True)
class _Filled:
    """Windows flattened to [N, T] and taken relative to their last value."""

    rel: Floats32  # [N, T]
    ok: NDArray[np.bool_]  # [N, T]
    last: Array  # [N]
    largest: Array  # [N]: largest magnitude, for rounding floors
    step: Floats32  # [N, T - 1]: signed change from each sample to the next
    whole: bool  # nothing is missing


def prepare(values: Array, dt_s: Array, history: History | None = None) -> Prepared:
    """values [B, C, T], oldest first, NaN = missing, the newest 128 count; dt_s [B] seconds."""
    batch, channels, _ = values.shape
    filled = _fill(_fit(values).reshape(batch * channels, CONTEXT))
    past = _past(history, filled.last.shape[0])
    ordered = np.sort(filled.rel, axis=1)
    level, scale = _scales(filled, past[1])
    q97 = np.where(np.isfinite(past[2]), past[2] - filled.last, _quantile(ordered, 0.97))
    season = season_of(history, filled.last, level)
    means, medians = _means(filled.rel), _medians(filled.rel)
    lag, score = period(filled.rel, level)
    dt = np.repeat(np.log10(np.maximum(dt_s, 1e-3)) / 4, channels)
    spread = (level, scale, q97, np.stack([score, dt], 1))
    stats = _stats(filled, ordered, (means, medians), spread, past)
    anchors = _anchors(filled, ordered, (means, medians), scale, (lag, season, past[0], q97))
    rows = len(stats)
    feeds: dict[str, Array] = {
        "x": _inputs(filled, ordered, level, scale),
        "valid": filled.ok.astype(np.float32),
        "stats": stats,
        "anchors": anchors,
        "season": season.feed,
        "action": np.zeros((rows, ACTION)),  # none: heads/action.py fills both in
        "effects": np.zeros((rows, len(HORIZONS), EFFECTS)),
    }
    shaped = {
        k: np.ascontiguousarray(a.reshape(batch, channels, *a.shape[1:]), dtype=np.float32)
        for k, a in feeds.items()
    }
    return Prepared(
        feeds=shaped,
        last=filled.last.reshape(batch, channels),
        scale=scale.reshape(batch, channels, len(HORIZONS)),
        q97=(q97 + filled.last).reshape(batch, channels),
        usable=(filled.ok.sum(1) >= SHORTEST).reshape(batch, channels),
    )


def _fit(values: Array) -> Array:
    """The newest CONTEXT samples, left-padded with NaN."""
    short = CONTEXT - values.shape[2]
    if short <= 0:
        return values[:, :, -CONTEXT:]
    return np.pad(values, ((0, 0), (0, 0), (short, 0)), constant_values=np.nan)


def carried(values: Array) -> tuple[Array, NDArray[np.bool_]]:
    """[N, T]: gaps take the last seen value, before the first the first; and what was seen."""
    ok: NDArray[np.bool_] = np.asarray(np.abs(values) < 1e30)  # False for NaN
    if ok.all():
        return values, ok
    at = np.where(ok, np.arange(values.shape[1]), -1)
    at = np.maximum.accumulate(at, axis=1)
    at = np.where(at < 0, ok.argmax(1)[:, None], at)
    values = np.take_along_axis(values, at, axis=1)
    return np.where(np.any(ok, axis=1)[:, None], values, 0.0), ok


def _fill(values: Array) -> _Filled:
    values, ok = carried(values)
    last = values[:, -1]
    rel = (values - last[:, None]).astype(np.float32)
    return _Filled(rel, ok, last, np.abs(values).max(1), rel[:, 1:] - rel[:, :-1], bool(ok.all()))


def _past(history: History | None, rows: int) -> tuple[Array, Array, Array]:
    if history is None:
        unknown = np.full(rows, np.nan)
        return unknown, unknown, unknown
    return history.mean.reshape(rows), history.sd.reshape(rows), history.q97.reshape(rows)


def _scales(f: _Filled, sd: Array) -> tuple[Floats32, Floats32]:
    """Mean |value - mean| [N], and mean |h-step difference| [N, H], both floored."""
    if f.whole:
        spread = _mean(np.abs(f.rel - _mean(f.rel)[:, None]))
    else:
        count = np.maximum(f.ok.sum(1), 1)
        mean = (f.rel * f.ok).sum(1) / count
        spread = (np.abs(f.rel - mean[:, None]) * f.ok).sum(1) / count
    floor = np.maximum(1e-6 * f.largest + 1e-12, 0.02 * np.where(np.isfinite(sd), sd, 0))
    level = np.maximum(spread, floor).astype(np.float32)
    out = np.empty((len(level), len(HORIZONS)), np.float32)
    before, step = np.zeros_like(level), 1
    for i, h in enumerate(HORIZONS):
        moved, pairs = _moved(f, h)
        # Too few pairs at this distance: as a random walk from the shorter one.
        before = np.where(pairs >= 4, moved, before * np.sqrt(h / step))
        step = h
        out[:, i] = np.maximum(before, np.maximum(floor, 0.05 * level))
    return level, out


def _moved(f: _Filled, h: int) -> tuple[Array, Array]:
    """Mean |h-step difference| and the number of its pairs, [N] each."""
    moved = np.abs(f.rel[:, h:] - f.rel[:, :-h])
    if f.whole:
        return _mean(moved), np.full(len(moved), moved.shape[1])
    both = f.ok[:, h:] & f.ok[:, :-h]
    pairs = both.sum(1)
    return (moved * both).sum(1) / np.maximum(pairs, 1), pairs


def _mean(a: Array | NDArray[np.bool_]) -> Array:
    """Over axis 1; half the time of ndarray.mean on rows this short."""
    out: Array = np.add.reduce(a, axis=1) * np.float32(1 / a.shape[1])
    return out


def _quantile(ordered: Floats32, q: float) -> Floats32:
    out: Floats32 = ordered[:, round(q * (ordered.shape[1] - 1))]
    return out


def _means(rel: Floats32) -> dict[int, Array]:
    total = np.cumsum(rel[:, ::-1], axis=1, dtype=np.float64)
    return {k: (total[:, k - 1] / k).astype(np.float32) for k in (2, 4, 8, 16, 32, 64, 128)}


def _medians(rel: Floats32) -> dict[int, Array]:
    out: dict[int, Array] = {}
    for k in (4, 8, 16, 32, 64):
        ordered = np.sort(rel[:, -k:], axis=1)
        out[k] = np.asarray((ordered[:, k // 2 - 1] + ordered[:, k // 2]) / 2)
    return out


def period(rel: Array, level: Array) -> tuple[NDArray[np.int64], Floats32]:
    """The lag of 3 up to 64 steps at which a window repeats itself best, and how well (0..1)."""
    length = rel.shape[1]
    longest = max(min(64, length // 2), 4)
    flat = np.clip((rel - rel.mean(1, keepdims=True)) / level[:, None], -4, 4)
    power = np.abs(np.fft.rfft(flat, 2 * max(length, longest))) ** 2
    echo = np.fft.irfft(power)[:, : longest + 1]
    lags = np.arange(longest + 1)
    echo = echo / (echo[:, :1] + 1e-6) * (length / np.maximum(length - lags, 1))
    lag = echo[:, 3:].argmax(1) + 3
    score = np.take_along_axis(echo, lag[:, None], 1)[:, 0]
    return lag, np.clip(score, 0, 1.5).astype(np.float32)


def _inputs(f: _Filled, ordered: Floats32, level: Floats32, scale: Floats32) -> Floats32:
    """Level, distance from the last value and difference of each sample: [N, T, 3]."""
    out = np.empty((*f.rel.shape, INPUTS), np.float32)
    middle = (ordered[:, 63] + ordered[:, 64]) / 2
    out[..., 0] = np.arcsinh((f.rel - middle[:, None]) / level[:, None])
    out[..., 1] = np.arcsinh(f.rel / scale[:, 1:2])
    out[:, 0, 2] = 0
    out[:, 1:, 2] = np.arcsinh(f.step / scale[:, :1])
    if not f.whole:
        out *= f.ok[..., None]
    return out


def _stats(
    f: _Filled,
    ordered: Floats32,
    middles: tuple[dict[int, Array], dict[int, Array]],
    spread: tuple[Floats32, Floats32, Array, Array],
    past: tuple[Array, Array, Array],
) -> Floats32:
    """What a window is like beside itself and beside its channel's past: [N, STATS]."""
    level, scale, q97, extra = spread
    means, medians = middles
    mean, sd, _ = past
    step = np.abs(f.step)
    known = np.isfinite(mean) & np.isfinite(sd)
    deviation = np.where(known, np.maximum(sd, 1e-12), level)
    distances = [
        *(means[k] for k in sorted(means)),
        *(medians[k] for k in sorted(medians)),
        *(_quantile(ordered, q) for q in (0, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 1)),
        q97,
        f.last,  # distance from zero: most metrics are bounded there
        *(f.rel[:, -1 - k] for k in (1, 2, 3, 4)),
    ]
    signs = f.step / scale[:, :1]
    turns = _mean(signs[:, 1:] * signs[:, :-1]) / (_mean(signs * signs) + 1e-6)
    ratios = [
        *(scale[:, i] / level for i in range(len(HORIZONS))),
        _mean(step[:, -8:]) / scale[:, 0] + 1e-3,
        _mean(step[:, -32:]) / scale[:, 0] + 1e-3,
        np.where(known, level / deviation, 1),
    ]
    others = [
        _mean(step == 0),
        _mean(step[:, -4:] == 0),
        turns,
        _mean(f.ok),
        known,
        np.arcsinh(np.where(known, f.last - mean, 0) / deviation),
    ]
    columns = [
        np.arcsinh(np.stack(distances, 1) / level[:, None]),
        np.clip(np.log(np.maximum(np.stack(ratios, 1), 1e-9)), -6, 6) / 2,
        np.stack(others, 1),
        extra,
    ]
    table = np.clip(np.concatenate(columns, 1), -12, 12)
    return np.where(np.isfinite(table), table, 0).astype(np.float32)


def _anchors(
    f: _Filled,
    ordered: Floats32,
    middles: tuple[dict[int, Array], dict[int, Array]],
    scale: Floats32,
    known: tuple[NDArray[np.int64], Season, Array, Array],
) -> Floats32:
    """Plain guesses for each horizon, relative to the last value, in its scale, and the threshold
    of p_rise: [N, H, K]."""
    lag, season, past_mean, q97 = known
    means, medians = middles
    steps = np.asarray(HORIZONS)
    back = CONTEXT - 1 + steps - lag[:, None] * -(-steps // lag[:, None])  # [N, H]
    slope = (means[4] - means[32]) / 14  # centres of the last 4 and the last 32 are 14 apart
    long_slope = (means[16] - means[128]) / 56
    historic = np.where(np.isfinite(past_mean), past_mean - f.last, means[128])
    guesses = [
        *(
            np.broadcast_to(g[:, None], back.shape)
            for g in (
                means[4],
                means[16],
                means[64],
                means[128],
                medians[16],
                (ordered[:, 63] + ordered[:, 64]) / 2,
                historic,
            )
        ),
        np.take_along_axis(f.rel, back, 1),
        slope[:, None] * steps,
        long_slope[:, None] * steps,
        *season.guesses,
        np.broadcast_to(q97[:, None], back.shape),
    ]
    out = np.stack(guesses, 2) / scale[:, :, None]
    out[~np.isfinite(out)] = 0
    return np.clip(out, -_CLIP, _CLIP).astype(np.float32)
