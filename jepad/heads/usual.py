"""What is usual on a machine, and how far off rows of values are.

Owns: the fit (clusters, components, a linear step, and how far the model's forecasts usually
miss), without labels; each term's depth in its own past. Does not know: time, names, units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jepad.heads.prepare import HORIZONS

Array = NDArray[np.floating]

#: What is looked at, each against its own past. The model's misses are taken in units of the
#: channel's deviation and, "own", of those misses' usual size.
TERMS = ("k-means", "PCA", "VAR", "near", "near, own", "far", "far, own", "latent")
#: The score's ceiling, in deviations.
MOST = 20.0
_MEMORY = 8.0  # steps the score looks back
_CLIP = 30.0
_NOTHING = 0.01  # deviations: less than this is rounding
_CLUSTERS, _ROUNDS, _RIDGE = 20, 8, 10.0
#: Rows before a row that its linear step rests on.
LAGS = 2
SHARES = 1 - np.geomspace(1, 5e-4, 48)
_DEPTH = -np.log10(1 - SHARES)  # of these shares, from 0 to 3.3
EXPECTED = math.log10(math.e)  # the mean of -log10 of a share, and its deviation
_LEAST = 64  # levels that a term's depth needs


@dataclass(frozen=True, slots=True)
class Usual:
    """What a machine of C channels usually does."""

    mean: Array  # [C]
    sd: Array  # [C]
    centres: Array  # [K, C]
    basis: Array  # [M, C]
    step: Array  # [LAGS * C + 1, C]
    spread: Array  # [3, C]: of what the linear step, near and far forecasts missed
    levels: Array  # [TERMS, SHARES]: the level each share of the past stayed below; NaN = never


def fit(values: Array, missed: Array, latent: Array) -> Usual:
    """From stretches: values [N, L, C], NaN = missing; missed [N, L, 2, C]; latent [N, L]."""
    flat = values.reshape(-1, values.shape[-1])
    known = np.isfinite(flat)
    count = np.maximum(known.sum(0), 1)
    filled = np.where(known, flat, 0)
    mean = filled.sum(0) / count
    sd = np.sqrt((np.where(known, flat - mean, 0) ** 2).sum(0) / count)
    sd = np.maximum(sd, np.maximum(1e-3 * np.abs(filled).max(0), 1e-9))
    x = scaled(values, mean, sd)
    rows = x.reshape(-1, x.shape[-1])
    now, before = x[:, LAGS:], _lagged(x)
    a = before.reshape(-1, before.shape[-1])
    step = np.linalg.solve(
        a.T @ a + _RIDGE * np.eye(a.shape[1]), a.T @ now.reshape(-1, x.shape[-1])
    )
    spread = np.stack(
        [
            np.maximum(np.sqrt(((now - before @ step) ** 2).mean((0, 1))), 0.02),
            *np.maximum(_deviation(missed), 0.02 * sd),
        ]
    )
    none = np.full((len(TERMS), len(SHARES)), np.nan)
    usual = Usual(mean, sd, _clusters(rows), _components(rows), step, spread, none)
    level = smoothed(levels(usual, values, missed, latent))
    return replace(usual, levels=_shares(level))


def scaled(values: Array, mean: Array, sd: Array) -> Array:
    """In deviations from the mean; what is missing is as usual."""
    return np.clip(np.nan_to_num((values - mean) / sd), -_CLIP, _CLIP)


def levels(usual: Usual, values: Array, missed: Array, latent: Array) -> Array:
    """How far off each row of [..., T, C] is in each term: [..., T, TERMS]; NaN = can't say."""
    pooled = over_channels(parts(usual, values, missed))
    return np.concatenate([pooled, latent[..., None]], -1)


def over_channels(by_channel: Array) -> Array:
    """Root mean of what `parts` gives, [..., C] -> [...]; NaN where no channel is known."""
    known = np.isfinite(by_channel)
    count = known.sum(-1)
    total = np.where(known, by_channel, 0).sum(-1)
    mean = np.maximum(np.sqrt(total / np.maximum(count, 1)), _NOTHING)
    out: Array = np.where(count > 0, mean, np.nan)
    return out


def parts(usual: Usual, values: Array, missed: Array) -> Array:
    """Each channel's squared part in each term but the last: [..., T, TERMS - 1, C]."""
    u = usual
    x = scaled(values, u.mean, u.sd)
    near = (u.centres**2).sum(-1) - 2 * x @ u.centres.T
    error = np.full_like(x, np.nan)
    error[..., LAGS:, :] = x[..., LAGS:, :] - _lagged(x) @ u.step
    unlike = (x - u.centres[near.argmin(-1)], x - x @ u.basis.T @ u.basis)
    misses = missed[..., None, :] / np.stack([np.stack([u.sd] * 2), u.spread[1:]], 1)
    shape = (*misses.shape[:-3], 4, misses.shape[-1])
    surprises = (np.arcsinh(error / u.spread[0])[..., None, :], np.arcsinh(misses.reshape(shape)))
    out: Array = np.concatenate([np.stack(unlike, -2), *surprises], -2) ** 2
    return out


def smoothed(level: Array) -> Array:
    """[..., T, TERMS] as remembered over the last steps; the unknown leaves it as it was."""
    out = np.empty_like(level)
    state = np.full(level[..., 0, :].shape, np.nan)
    for t in range(level.shape[-2]):
        state = remember(state, level[..., t, :])
        out[..., t, :] = state
    return out


def remember(state: Array, level: Array) -> Array:
    """One step of it."""
    moved = state + (level - state) / _MEMORY
    return np.where(np.isfinite(moved), moved, np.where(np.isfinite(state), state, level))


def depth(usual: Usual, level: Array) -> Array:
    """Of each smoothed level [..., TERMS], -log10 of the share of the past that was above it.

    Above all of the past it goes on with the level's logarithm.
    """
    known, term = usual.levels, np.arange(len(usual.levels))
    # Of equal levels the least deep counts.
    above = (known < level[..., None]).sum(-1) - 1
    low = np.clip(above, 0, len(SHARES) - 2)
    first, second = known[term, low], known[term, low + 1]
    share = np.clip((level - first) / np.maximum(second - first, 1e-12), 0, 1)
    beyond = np.log10(np.maximum(level / np.maximum(known[:, -1], _NOTHING), 1))
    out: Array = _DEPTH[low] + share * (_DEPTH[low + 1] - _DEPTH[low]) + 3 * beyond
    return out


def deviations(deep: Array) -> Array:
    """[..., TERMS] -> the score [...]: deviations of the mean depth above usual, 0..20."""
    known = np.isfinite(deep)
    count = known.sum(-1)
    mean = np.where(known, deep, 0).sum(-1) / np.maximum(count, 1)
    score = np.clip(mean / EXPECTED - 1, 0, MOST)
    out: Array = np.where(count > 0, score, np.nan)
    return out


def foretold(medians: Array, age: Array) -> Array:
    """What forecasts [..., C, H] said of `age` steps [...] later, between horizons: [..., C]."""
    place = np.interp(np.log(np.maximum(age, 1)), np.log(HORIZONS), np.arange(len(HORIZONS)))
    low = np.minimum(place.astype(int), len(HORIZONS) - 2)
    share = (place - low)[..., None]
    first = np.take_along_axis(medians, low[..., None, None], -1)[..., 0]
    second = np.take_along_axis(medians, low[..., None, None] + 1, -1)[..., 0]
    out: Array = (1 - share) * first + share * second
    return out


def latent_level(missed: Array, variance: Array) -> Array:
    """How far latents came out from what was predicted, [..., D], in their usual units."""
    out: Array = np.sqrt((missed**2 / (variance + 1e-9)).mean(-1))
    return out


def _lagged(x: Array) -> Array:
    """Of each row but the first ones the LAGS before it, and a one."""
    total = x.shape[-2]
    before = [x[..., LAGS - i : total - i, :] for i in range(1, LAGS + 1)]
    return np.concatenate([*before, np.ones((*before[0].shape[:-1], 1))], -1)


def _deviation(missed: Array) -> Array:
    """Root mean square of what was missed, [N, L, 2, C] -> [2, C]; 0 where nothing is known."""
    known = np.isfinite(missed)
    total = (np.where(known, missed, 0) ** 2).sum((0, 1))
    out: Array = np.sqrt(total / np.maximum(known.sum((0, 1)), 1))
    return out


def _components(x: Array) -> Array:
    """The larger half of the principal components: [M, C]."""
    values, vectors = np.linalg.eigh(x.T @ x)
    out: Array = vectors[:, ::-1][:, : max(1, len(values) // 2)].T
    return out


def _clusters(x: Array) -> Array:
    """k-means, started far apart, the same every time."""
    rng = np.random.default_rng(0)
    centres = x[rng.integers(len(x))][None]
    apart = ((x - centres[0]) ** 2).sum(1)
    for _ in range(_CLUSTERS - 1):
        if not apart.sum() > 0:
            break
        centres = np.vstack([centres, x[rng.choice(len(x), p=apart / apart.sum())]])
        apart = np.minimum(apart, ((x - centres[-1]) ** 2).sum(1))
    for _ in range(_ROUNDS):
        nearest = ((centres**2).sum(1) - 2 * x @ centres.T).argmin(1)
        mine = nearest[:, None] == np.arange(len(centres))
        count = mine.sum(0)[:, None]
        centres = np.where(count > 0, mine.T.astype(float) @ x / np.maximum(count, 1), centres)
    out: Array = centres
    return out


def _shares(level: Array) -> Array:
    """The level each of SHARES stays below: [TERMS, SHARES]; NaN where too few are known."""
    out = np.full((len(TERMS), len(SHARES)), np.nan)
    for i, column in enumerate(level.reshape(-1, len(TERMS)).T):
        known = column[np.isfinite(column)]
        if len(known) >= _LEAST:
            out[i] = np.quantile(known, SHARES)
    return out
