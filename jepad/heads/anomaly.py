"""How unlike its usual self the machine is now, and which channels make it so.

Owns: forecasts waiting for their answer, a sample of about the last day that what is usual is
learned from, the score, its causes. Does not know: names, units, thresholds, who is told.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from jepad.heads.prepare import HORIZONS
from jepad.heads.usual import (
    EXPECTED,
    LAGS,
    SHARES,
    TERMS,
    Usual,
    depth,
    deviations,
    fit,
    foretold,
    latent_level,
    over_channels,
    parts,
    remember,
)
from jepad.records import Floats

Array = NDArray[np.floating]

#: A forecast is kept every so many steps: the newest kept speaks near, the one before it far.
EVERY = 16
#: What is usual rests on this many stretches of so many steps, together from about one day.
STRETCHES, LENGTH = 48, 32
#: Steps seen before anything is said, and between two fits once all stretches are filled.
FEWEST, REFIT = 192, 3600
_DAY = 86400
_ALARM = 5.0  # a stretch that ends above it is learned one time in four: no alarm is soon the norm
_LARGEST = 1e30
_MEMORY, _FORGET = 8.0, 500.0  # steps that causes look back, latent misses


@dataclass(slots=True)
class _Kept:
    """A forecast that waits."""

    medians: Array  # [C, H]
    z_hat: Array | None  # [D], of the farthest horizon
    age: int = 0


class _Sample:
    """Stretches of rows: all at first, later one now and then in the place of any."""

    def __init__(self, channels: int) -> None:
        self._width = 3 * channels + 1  # values, near and far misses, latent
        self._table = np.empty((0, LENGTH, self._width), np.float32)
        self._stretch: list[Array] = []
        self._wait = 0
        self._seen = 0
        self._rng = np.random.default_rng(0)

    @property
    def rows(self) -> int:
        """Rows kept."""
        return len(self._table) * LENGTH

    @property
    def full(self) -> bool:
        """Every stretch is filled."""
        return len(self._table) == STRETCHES

    def gap(self) -> None:
        """Rows were missed: a stretch has none."""
        self._stretch.clear()

    def add(self, row: Array, alarmed: bool) -> None:
        """Take one row [3 * C + 1]."""
        self._seen += 1
        self._wait -= 1
        if self._wait > 0:
            return
        self._stretch.append(row)
        if len(self._stretch) == LENGTH:
            if not alarmed or self._rng.integers(4) == 0:
                self._put(np.stack(self._stretch).astype(np.float32))
            self._stretch.clear()

    def _put(self, stretch: Array) -> None:
        if self.full:
            self._table[self._rng.integers(STRETCHES)] = stretch
            self._wait = min(max(self._seen, LENGTH * STRETCHES), _DAY) // STRETCHES - LENGTH
        else:
            self._table = np.concatenate([self._table, stretch[None]])

    def table(self) -> tuple[Array, Array, Array]:
        """Values [N, L, C], missed [N, L, 2, C], latent [N, L]."""
        table = self._table.astype(np.float64)
        channels = (self._width - 1) // 3
        missed = table[..., channels:-1].reshape(*table.shape[:2], 2, channels)
        return table[..., :channels], missed, table[..., -1]


class Anomaly:
    """Step by step: feed it what came and what the model says, it answers in deviations."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self.usual: Usual | None = None
        self._rows: deque[Array] = deque(maxlen=LAGS + 1)
        self._kept: deque[_Kept] = deque(maxlen=HORIZONS[-1] // EVERY + 1)
        self._sample = _Sample(channels)
        self._latent = math.nan
        self._variance: Array | None = None
        self._heard = 0  # latent misses so far
        self._level = np.full(len(TERMS), np.nan)
        self._parts = np.zeros((len(TERMS) - 1, channels))
        self._deep = np.full(len(TERMS), np.nan)
        self._until_fit = FEWEST
        self._fitted = 0  # rows that `usual` rests on
        self.score = math.nan

    def observe(
        self,
        values: Floats,
        quantiles: Array | None = None,
        embedding: Array | None = None,
        steps: int = 1,
    ) -> float:
        """values [C] came `steps` after the last ones, NaN = missing.

        quantiles [C, H, 3] and embedding [1 + H, D] (z, then z_hat) are what the model says as of
        these values; None when it did not speak. 0..20; NaN until enough was seen.
        """
        values = np.where(np.abs(values) < _LARGEST, values, np.nan)
        if steps != 1:
            self._rows.clear()
            self._sample.gap()
        for kept in self._kept:
            kept.age += steps
        self._rows.append(values)
        missed = self._missed(values)
        self._keep(quantiles, embedding)
        row = np.concatenate([values, missed.ravel(), [self._latent]])
        self._sample.add(row, self.score > _ALARM)
        self._until_fit -= 1
        if self._until_fit <= 0:
            self._fit()
        if self.usual is not None:
            self._judge(missed)
        return self.score

    def contributions(self) -> Array:
        """Each channel's share in what is unusual now: [C], summing to 1, or to 0 if nothing is."""
        total = self._parts.sum(1, keepdims=True)
        shares = self._parts / np.where(total > 0, total, 1)
        weight = np.maximum(np.nan_to_num(self._deep[:-1]) - EXPECTED, 0)
        out: Array = weight @ shares / max(weight.sum(), 1e-12)
        return out

    def _missed(self, values: Array) -> Array:
        out = np.full((2, self._channels), np.nan)
        newest = [k for k in list(self._kept)[:-3:-1] if k.age <= HORIZONS[-1]]
        if newest:
            ages = np.array([k.age for k in newest])
            out[: len(newest)] = values - foretold(np.stack([k.medians for k in newest]), ages)
        return out

    def _keep(self, quantiles: Array | None, embedding: Array | None) -> None:
        if quantiles is None or (self._kept and self._kept[-1].age < EVERY):
            return
        z_hat = None
        if embedding is not None:
            self._hear(np.asarray(embedding[0], np.float64))
            z_hat = np.asarray(embedding[-1], np.float64)
        medians = np.asarray(quantiles[..., 1], np.float64)
        self._kept.append(_Kept(np.where(np.abs(medians) < _LARGEST, medians, np.nan), z_hat))

    def _hear(self, z: Array) -> None:
        """The latent came that was predicted at the farthest horizon."""
        oldest = self._kept[0] if self._kept else None
        if oldest is None or oldest.z_hat is None or abs(oldest.age - HORIZONS[-1]) > EVERY / 2:
            return
        missed = z - oldest.z_hat
        if not np.isfinite(missed).all():
            return
        before = np.zeros_like(z) if self._variance is None else self._variance
        if self._heard:
            self._latent = float(latent_level(missed, before))
        # What is wild counts no more than five deviations.
        squared = missed**2 if self._heard < 16 else np.minimum(missed**2, 25 * before)
        self._heard += 1
        self._variance = before + (squared - before) / min(self._heard, _FORGET)

    def _fit(self) -> None:
        rows = self._sample.rows
        # After a restore what was known then is better than the little seen since.
        if rows >= self._fitted:
            self.usual = fit(*self._sample.table())
            self._fitted = rows
        self._until_fit = REFIT if self._sample.full else max(rows // 2, FEWEST // 2)

    def _judge(self, missed: Array) -> None:
        usual = self.usual
        assert usual is not None
        values = np.stack(self._rows)
        errors = np.broadcast_to(missed, (len(values), *missed.shape))
        split = parts(usual, values, errors)[-1]
        level = np.append(over_channels(split), self._latent)
        self._level = remember(self._level, level)
        self._parts += (np.nan_to_num(split) - self._parts) / _MEMORY
        self._deep = depth(usual, self._level)
        self.score = float(deviations(self._deep))

    def state(self) -> dict[str, object]:
        """Plain lists, to persist what is usual."""
        if self.usual is None:
            return {}
        known = {f.name: getattr(self.usual, f.name).tolist() for f in fields(Usual)}
        variance = [] if self._variance is None else self._variance.tolist()
        return {**known, "variance": variance, "heard": self._heard, "fitted": self._fitted}

    def restore(self, state: Mapping[str, object]) -> None:
        """Take a persisted state; channels must match."""
        if not state:
            return
        tables = {f.name: np.asarray(state[f.name], np.float64) for f in fields(Usual)}
        _check(tables, self._channels)
        variance = np.asarray(state["variance"], np.float64)
        if not np.isfinite(variance).all():
            raise ValueError("a variance that is no number")
        self.usual = Usual(**tables)
        self._variance = variance if len(variance) else None
        self._heard, self._fitted = int(str(state["heard"])), int(str(state["fitted"]))


def _check(tables: Mapping[str, Array], channels: int) -> None:
    """ValueError unless they are what `fit` makes of so many channels."""
    width = {"mean": 0, "sd": 0, "centres": 1, "basis": 1, "step": 1, "spread": 1}
    for name, dimensions in width.items():
        table = tables[name]
        if table.ndim != dimensions + 1 or table.shape[-1] != channels:
            raise ValueError(f"{name} of {table.shape} for {channels} channels")
        if not np.isfinite(table).all():
            raise ValueError(f"{name} holds what is no number")
    if tables["step"].shape[0] != LAGS * channels + 1 or len(tables["spread"]) != 3:
        raise ValueError(f"a linear step of {tables['step'].shape}")
    if tables["levels"].shape != (len(TERMS), len(SHARES)) or not (tables["sd"] > 0).all():
        raise ValueError(f"levels of {tables['levels'].shape}")
