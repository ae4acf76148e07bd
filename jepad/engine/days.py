"""The same time on earlier days: means of a minute, a week back.

Owns: a column a series, a row a minute. Rows are keyed by the minute of the wall clock (UTC) that
they are about: when the clock is set, a row that is overwritten is one whose minute came again,
and no other is touched; minutes asleep were never written. Does not know: forecasts, files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from jepad.heads.history import AFTER, BEFORE, DAYS
from jepad.records import Floats, Floats32

MINUTE_S, DAY_S = 60, 86_400
#: A week and, beyond the longest horizon, some minutes more.
SLOTS = 7 * 1440 + 32
#: Series with a column; those that are gone keep theirs while there is room.
MOST = 64
MOST_BYTES = SLOTS * (MOST * 4 + 4) + MOST * 1024

Key = tuple[str, str]  # name and unit


class Stored(msgspec.Struct, forbid_unknown_fields=True):
    """As it is persisted."""

    series: list[Key]
    minutes: bytes  # int32 [SLOTS]
    means: bytes  # float32 [SLOTS, C]


class Days:
    """Place the series that live, then add their rows."""

    def __init__(self) -> None:
        self._series: list[Key] = []
        self._minutes = np.full(SLOTS, -1, np.int32)
        self._means: Floats32 = np.empty((SLOTS, 0), np.float32)
        self._live: NDArray[np.intp] = np.empty(0, np.intp)  # columns of the rows that come
        self._minute = -1
        self._total: Floats = np.empty(0)
        self._count: Floats = np.empty(0)

    def place(self, series: Sequence[Key]) -> None:
        """These come from now on; what is gone makes room where there is none."""
        self.flush()
        gone = [key for key in self._series if key not in series]
        kept = [*series, *gone[: max(MOST - len(series), 0)]]
        known = {key: i for i, key in enumerate(self._series)}
        if kept != self._series:
            means = np.full((SLOTS, len(kept)), np.nan, np.float32)
            at = [i for i, key in enumerate(kept) if key in known]
            means[:, at] = self._means[:, [known[kept[i]] for i in at]]
            self._series, self._means = kept, means
        self._live = np.arange(len(series))
        self._total, self._count = np.zeros(len(series)), np.zeros(len(series))

    def add(self, wall_s: NDArray[np.floating[Any]], rows: Floats) -> None:
        """Rows [K, C] of the placed series, as of these times."""
        for minute, row in zip((wall_s // MINUTE_S).astype(np.int64).tolist(), rows, strict=True):
            if minute != self._minute:
                self.flush()
                self._minute = minute
            known = np.isfinite(row)
            self._total += np.where(known, row, 0.0)
            self._count += known

    def flush(self) -> None:
        """Take the minute that runs for over: its second part will stand for it."""
        if 0 <= self._minute < 1 << 31 and self._count.any():
            slot = self._minute % SLOTS
            if self._minutes[slot] != self._minute:
                self._minutes[slot] = self._minute
                self._means[slot] = np.nan
            seen = self._count > 0
            self._means[slot, self._live[seen]] = self._total[seen] / self._count[seen]
        self._minute = -1
        self._total[:] = self._count[:] = 0

    def around(self, wall_s: float, dt_s: float) -> Floats32 | None:
        """[1, C, DAYS, BEFORE + AFTER] as in History; None when no earlier day was seen."""
        steps = np.arange(BEFORE + AFTER) - (BEFORE - 1)
        days = np.arange(1, DAYS + 1)[:, None]
        # A sample is the mean of the step before it; a minute's mean is that of its middle.
        middle = wall_s + steps * dt_s - dt_s / 2 - days * DAY_S
        place = middle / MINUTE_S - 0.5
        before = np.floor(place).astype(np.int64)
        part = (place - before).astype(np.float32)[..., None]
        low, high = self._at(before), self._at(before + 1)
        if not np.isfinite(low).any():
            return None
        between = low + part * (high - low)
        between = np.where(np.isnan(between), np.where(part < 0.5, low, high), between)
        return np.ascontiguousarray(between.transpose(2, 0, 1)[None])

    def _at(self, minutes: NDArray[np.int64]) -> Floats32:
        """[..., C] of the placed series; NaN where that minute is not known."""
        slots = minutes % SLOTS
        rows: Floats32 = self._means[slots][..., self._live]
        rows[self._minutes[slots] != minutes] = np.nan
        return rows

    def stored(self) -> Stored:
        """To persist."""
        self.flush()
        return Stored(list(self._series), self._minutes.tobytes(), self._means.tobytes())

    def restore(self, stored: Stored) -> None:
        """ValueError when this can't have been stored."""
        count = len(stored.series)
        if count > MOST or len(set(stored.series)) != count:
            raise ValueError(f"days of {count} series")
        minutes = np.frombuffer(stored.minutes, np.int32)
        means = np.frombuffer(stored.means, np.float32)
        if minutes.shape != (SLOTS,) or means.shape != (SLOTS * count,):
            raise ValueError(f"days of {len(minutes)} minutes and {len(means)} means")
        if ((minutes >= 0) & (minutes % SLOTS != np.arange(SLOTS))).any() or np.isinf(means).any():
            raise ValueError("days that no clock and no sensor gave")
        self._series = list(stored.series)
        self._minutes, self._means = minutes.copy(), means.reshape(SLOTS, count).copy()
        self._live = np.empty(0, np.intp)
