"""The rates and gauges of the forecast channels, on the model's two scales.

Owns: the last 1,280 steps of the chosen channels. Does not know forecasts or the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepad.engine.channels import choose
from jepad.heads.history import moved
from jepad.records import GAP, Floats, Series, Window
from jepad.ring.stream import Stream
from jepad.sources.rates import rate_series, rates

CONTEXT = 128
DECIMATION = 10
#: Faster telemetry is read at this step: the model's fast scale.
STEP_S = 1.0
#: No rate or gauge of a machine is so large; one such value would spoil a channel's statistics.
ABSURD = 1e18


class Recent:
    """Follows one telemetry stream; a new stream needs a new one."""

    def __init__(self, stream: Stream, patterns: Sequence[str]) -> None:
        """KeyError, TypeError or ValueError when the stream's schema is not telemetry's."""
        schema = stream.header.schema
        every = [Series(s["name"], s["unit"], s["semantics"]) for s in schema["series"]]
        interval_s = float(schema["interval_s"])
        if stream.header.shape != (len(every),) or not 0 < interval_s < np.inf:
            raise ValueError(f"{len(every)} series of {stream.header.shape} every {interval_s} s")
        self._stream = stream
        self._picks = choose(every, patterns)
        self._raw = tuple(every[i] for i in self._picks)
        self._stride = max(1, round(STEP_S / interval_s))
        self.every = tuple(every)
        self.step_s = interval_s * self._stride
        self.series = rate_series(self._raw)
        self.rows: Floats = np.empty((0, len(self._picks)))  # [T, C], oldest first
        self.times: NDArray[np.int64] = np.empty(0, np.int64)  # [T], CLOCK_MONOTONIC
        self.unbroken = 0  # newest rows with no time unseen between them
        self.last_n = -1
        self.t_ns = 0

    def update(self) -> int:
        """Take what has come; how many steps that were."""
        behind = self._stream.head - self.last_n
        if behind < self._stride:
            return 0
        most = CONTEXT * DECIMATION * self._stride
        raw, t_ns, flags, last_n = self._stream.window(min(behind, most) + 1)
        # Faster telemetry: what is beyond a whole step waits for the next one.
        rest = (last_n - self.last_n) % self._stride if self.last_n >= 0 else 0
        rows = slice(0, len(t_ns) - rest)
        raw = raw[rows, self._picks]
        return self._append(Window(self._raw, t_ns[rows], raw, flags[rows], last_n - rest))

    def inherit(self, before: Recent, places: NDArray[np.intp]) -> int:
        """Go on from an earlier stream: its older rows stand before ours. How many of ours came
        after its last."""
        fresh = int((self.times > before.t_ns).sum())
        first = self.times[0] if len(self.times) else before.t_ns + 1
        older = before.times < first
        rows = moved(before.rows[older].T, places, np.nan).T
        self.rows = np.concatenate([rows, self.rows])[-CONTEXT * DECIMATION :]
        self.times = np.concatenate([before.times[older], self.times])[-CONTEXT * DECIMATION :]
        self.t_ns = int(self.times[-1]) if len(self.times) else 0
        return fresh

    def fast(self) -> Floats:
        """[C, T]: the newest steps, at most a context."""
        return self.rows[-CONTEXT:].T

    def slow(self) -> Floats:
        """[C, T]: means of ten steps, the last ending now; a step with nothing seen is NaN."""
        blocks = len(self.rows) // DECIMATION
        rows = self.rows[len(self.rows) - blocks * DECIMATION :]
        parts = rows.reshape(blocks, DECIMATION, rows.shape[1])
        seen = np.isfinite(parts)
        total = np.where(seen, parts, 0.0).sum(axis=1)
        count = seen.sum(axis=1)
        mean: Floats = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return mean.T

    def _append(self, window: Window) -> int:
        picks = np.arange(len(window.t_ns) - 1, -1, -self._stride)[::-1]
        if not len(picks):
            return 0
        # A gap anywhere between two picked rows is a gap between them.
        flags = np.bitwise_or.reduceat(window.flags, np.r_[0, picks[:-1] + 1])
        strided = Window(
            window.series, window.t_ns[picks], window.values[picks], flags, window.last_n
        )
        _, t_ns, values = rates(strided)
        fresh = values if self.last_n < 0 else values[1:]
        gaps = np.flatnonzero(flags[len(flags) - len(fresh) :] & GAP)
        self.unbroken = len(fresh) - int(gaps[-1]) if len(gaps) else self.unbroken + len(fresh)
        fresh[~(np.abs(fresh) < ABSURD)] = np.nan
        self.rows = np.concatenate([self.rows, fresh])[-CONTEXT * DECIMATION :]
        newest = t_ns[len(t_ns) - len(fresh) :]
        self.times = np.concatenate([self.times, newest])[-CONTEXT * DECIMATION :]
        self.last_n, self.t_ns = window.last_n, int(t_ns[-1])
        return len(fresh)
