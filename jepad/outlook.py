"""The forecast in force: the engine's while it is fresh, else the baseline made here.

Owns: the latest forecast, how often its intervals held, whether we are degraded. Does not know:
how the engine works, who asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from jepad.engine.bounds import ceilings, floors, sane
from jepad.engine.channels import choose
from jepad.engine.publisher import causes_of
from jepad.errors import Lapped, NotFound, RingError
from jepad.heads.since import baselines
from jepad.records import Floats, Forecast, Series, Window
from jepad.ring.layout import bits_float
from jepad.ring.stream import Frame, Stream
from jepad.sources.rates import rates

STREAM = "predictions.machine"
FRESH = 3  # steps; an older forecast of the engine's is not in force
LEAST = 8  # samples; from fewer no interval can be told
STEPS = (1, 4, 16, 64, 160, 640)  # horizons, as the engine's


class Outlook:
    """Updated once a tick with the newest telemetry window."""

    def __init__(self, prefix: str, patterns: Sequence[str], interval_s: float) -> None:
        self._prefix = prefix
        self._patterns = patterns
        #: Samples a step: the horizons are of steps of a second or more, as the engine's.
        self.stride = max(1, round(1 / interval_s))
        self._step_s = interval_s * self.stride
        self._stream: Stream | None = None
        self._coverage = Coverage()
        self.latest: Forecast | None = None
        self.now: dict[str, float] = {}
        self.degraded = True

    def update(self, window: Window) -> Forecast | None:
        """Take the engine's newest forecast, or make one from the window; None while it is too
        short for either."""
        series, _, values = rates(window)
        self.now = dict(zip((s.name for s in series), _newest(values), strict=True))
        if len(values) < LEAST:
            return None
        made = self._from_engine(window)
        self.degraded = made is None
        self.latest = made or self._from_baseline(window, series, values)
        self._coverage.update(self.latest, self.now)
        return self.latest

    def confidence(self, names: Sequence[str]) -> float:
        """Share of recent p10–p90 intervals of these series that held, .8 is what they claim;
        NaN before any fell due."""
        return self._coverage.share(names)

    def close(self) -> None:
        """Unmap the engine's stream."""
        if self._stream:
            self._stream.close()
            self._stream = None

    def _from_engine(self, window: Window) -> Forecast | None:
        try:
            if self._stream is None or self._stream.state == "retired":
                self.close()
                self._stream = Stream(self._prefix, STREAM)
            frame = self._stream.read(timeout=0)
        except NotFound:
            return None  # the engine has not made its stream yet: State says degraded
        except Lapped:
            return self.latest if self.latest and self.latest.model_digest else None
        except RingError:
            self.close()
            return None  # a stream of another make; reopened next tick
        if frame is None or self._stream.state != "live" or not self._fresh(frame, window):
            return None
        if self.latest and self.latest.source_n == frame.source_n and not self.degraded:
            return self.latest
        header = self._stream.header
        schema = header.schema
        series = tuple(Series(s["name"], s["unit"], s["semantics"]) for s in schema["series"])
        return Forecast(
            source_n=frame.source_n,
            t_ns=frame.t_ns,
            series=series,
            horizons_s=tuple(float(h) for h in schema["horizons_s"]),
            quantiles=frame.array[:, :, :3],
            p_rise=frame.array[:, :, 3],
            weight=frame.array[:, :, 4],
            surprise=bits_float(frame.aux[0]),
            model_digest=bytes(header.model_sha256).hex(),
            causes=tuple(series[c].name for c in causes_of(frame.aux[1]) if c < len(series)),
        )

    def _fresh(self, frame: Frame, window: Window) -> bool:
        """Of these samples, and not of an earlier life of the stream."""
        late_s = (int(window.t_ns[-1]) - frame.t_ns) * 1e-9
        return frame.source_n <= window.last_n and 0 <= late_s <= FRESH * self._step_s

    def _from_baseline(self, window: Window, series: Sequence[Series], values: Floats) -> Forecast:
        picks = choose(window.series, self._patterns)
        chosen = tuple(series[i] for i in picks)
        seen = values[(len(values) - 1) % self.stride :: self.stride, picks].T
        quantiles, p_rise = baselines(seen, self._step_s, STEPS)
        quantiles = sane(quantiles, floors(chosen, seen), ceilings(chosen, window.series))
        return Forecast(
            source_n=window.last_n,
            t_ns=int(window.t_ns[-1]),
            series=chosen,
            horizons_s=tuple(self._step_s * h for h in STEPS),
            quantiles=quantiles.astype(np.float32),
            p_rise=p_rise.astype(np.float32),
            weight=np.zeros(quantiles.shape[:2], np.float32),
            surprise=float("nan"),
            model_digest="",
        )


class Coverage:
    """How often what came lay between p10 and p90, per series, over the last minutes."""

    def __init__(self, memory: float = 0.98) -> None:
        self._memory = memory
        self._open: deque[tuple[int, Forecast]] = deque()
        self._share: dict[str, float] = {}

    def update(self, forecast: Forecast, now: dict[str, float]) -> None:
        """Score the 16 s interval (or the nearest there is) that falls due at this tick."""
        h = int(np.argmin(np.abs(np.asarray(forecast.horizons_s) - 16.0)))
        due_ns = int(forecast.horizons_s[h] * 1e9)
        if not self._open or self._open[-1][1] is not forecast:
            self._open.append((forecast.t_ns + due_ns, forecast))
        while self._open and self._open[0][0] <= forecast.t_ns:
            self._score(self._open.popleft()[1], h, now)

    def share(self, names: Sequence[str]) -> float:
        """Mean over the series scored so far; NaN before any was."""
        shares = [self._share[n] for n in names if n in self._share]
        return float(np.mean(shares)) if shares else float("nan")

    def _score(self, past: Forecast, h: int, now: dict[str, float]) -> None:
        for row, series in zip(past.quantiles[:, h], past.series, strict=True):
            value = now.get(series.name, float("nan"))
            if np.isfinite(value) and np.isfinite(row).all():
                held = float(row[0] <= value <= row[2])
                before = self._share.get(series.name, held)
                self._share[series.name] = self._memory * before + (1 - self._memory) * held


def _newest(values: Floats) -> list[float]:
    return [float(v) for v in values[-1]] if len(values) else []
