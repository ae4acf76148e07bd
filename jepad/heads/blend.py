"""How far each channel trusts the model: by the error it made here, lately.

Owns: forecasts waiting for their answer (as many steps as the farthest horizon) and two running
errors a channel and horizon. Does not know: how either forecast was made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepad.heads.history import moved
from jepad.records import Floats, Floats32

_LEVELS = np.array([0.1, 0.5, 0.9])
#: Steps the errors remember, and how much evidence the first guess is worth.
_MEMORY, _PRIOR = 200.0, 4.0
#: The model is silent where its error is this many times the baseline's, alone where it is that:
#: level with the baseline it has most of the say, as on hosts it never saw it is mostly ahead.
_SILENT, _ALONE = 1.2, 0.92


class Blend:
    """Weights of the model for C channels at given horizons (in steps)."""

    def __init__(self, channels: int, horizons: Sequence[int]) -> None:
        self._horizons = tuple(horizons)
        self._waiting: deque[tuple[Floats32, Floats32]] = deque(maxlen=max(horizons))
        self._error = np.zeros((2, channels, len(self._horizons)))
        self._seen = np.zeros((channels, len(self._horizons)))

    def weights(self, newest: Floats, model: Floats, base: Floats, steps: int = 1) -> Floats32:
        """newest [C] came `steps` after the last call; model and base [C, H, 3] start at it."""
        for _ in range(steps - 1):
            # A step nobody spoke at; its place keeps the others' distances right.
            self._waiting.append((np.full_like(model, np.nan), np.full_like(base, np.nan)))
        self._learn(newest)
        self._waiting.append((model.astype(np.float32), base.astype(np.float32)))
        return self._weights()

    def move(self, places: NDArray[np.intp]) -> None:
        """Other channels from now on: channel i was places[i], or is new where that is -1."""
        self._seen = moved(self._seen, places)
        self._error = np.stack([moved(error, places) for error in self._error])
        for _ in range(len(self._waiting)):
            mine, plain = self._waiting.popleft()
            self._waiting.append((moved(mine, places, np.nan), moved(plain, places, np.nan)))

    def told(self, channel: int) -> tuple[list[float], list[float], list[float]]:
        """Errors of the model and of the baseline, and answers seen, a horizon; to persist."""
        model, base = self._error[:, channel].tolist()
        return model, base, self._seen[channel].tolist()

    def restore(self, channel: int, told: Sequence[Sequence[float]]) -> None:
        """Take what `told` said of a channel; ValueError if it can't have."""
        if len(told) != 3 or {len(row) for row in told} != {len(self._horizons)}:
            raise ValueError(f"errors of another shape than 3 x {len(self._horizons)}")
        rows = np.array(told, np.float64)
        if not (np.isfinite(rows) & (rows >= 0)).all():
            raise ValueError("errors that are negative or not finite")
        self._error[:, channel], self._seen[channel] = rows[:2], rows[2]

    @property
    def proven(self) -> float:
        """Share of the channels whose weights rest on answers."""
        return float((self._seen[:, 0] > _PRIOR).mean()) if len(self._seen) else 0.0

    def _learn(self, newest: Floats) -> None:
        for i, h in enumerate(self._horizons):
            if len(self._waiting) < h:
                continue
            mine, plain = self._waiting[-h]
            losses = np.stack([_pinball(newest, mine[:, i]), _pinball(newest, plain[:, i])])
            known = np.isfinite(losses).all(0)
            self._seen[known, i] += 1
            # An early mean, later an exponential one: one wild step is soon outweighed.
            rate = 1 / np.minimum(np.maximum(self._seen[:, i], 1), _MEMORY)
            change = rate * (np.where(known, losses, 0) - self._error[:, :, i])
            self._error[:, :, i] += np.where(known, change, 0)

    def _weights(self) -> Floats32:
        model, base = self._error
        tiny = 1e-12 * (model + base) + 1e-300
        ratio = (model + tiny) / (base + tiny)
        # Few answers move the weight little from its start, the middle.
        ratio = ratio ** (self._seen / (self._seen + _PRIOR))
        low, high = np.log(_ALONE), np.log(_SILENT)
        weight = (high - np.log(np.clip(ratio, _ALONE, _SILENT))) / (high - low)
        out: Floats32 = weight.astype(np.float32)
        return out


def _pinball(actual: Floats, quantiles: NDArray[np.floating]) -> Floats:
    """[C], [C, 3] -> [C]."""
    error = actual[:, None] - quantiles
    out: Floats = np.maximum(_LEVELS * error, (_LEVELS - 1) * error).sum(1)
    return out
