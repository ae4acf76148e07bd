"""The engine's one loop: telemetry in, forecasts out, requests answered in between.

Owns: order and timing of the work, life of the streams. Does not know how a forecast is made.
"""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import dataclass

from jepad import journal
from jepad.engine import wire
from jepad.engine.backend import Backend
from jepad.engine.batch import Batch
from jepad.engine.desk import Desk
from jepad.engine.follow import Follower
from jepad.engine.forecaster import Forecaster, Made
from jepad.engine.keep import Keep
from jepad.engine.learned import Learned
from jepad.engine.pace import Pace
from jepad.engine.publisher import Publisher
from jepad.engine.recent import Recent
from jepad.errors import Lapped, RingError
from jepad.heads.prepare import CONTEXT
from jepad.ring.stream import Stream
from jepad.worker.door import Door
from jepad.worker.every import Every

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
#: What was learned is saved so often; the days, a hundred times as large, so often.
SAVE_S, SAVE_DAYS_S = 300.0, 3600.0
#: Looks for a sample: idle, and around the moment one is due.
IDLE_MS, NEAR_MS, LATE_MS = 500, 10, 100


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    runtime: str
    prefix: str
    series: tuple[str, ...] = ()  # patterns; () = built in
    model_every: int = 0  # ticks; 0 = as its cost allows
    transient: bool = False  # remove the streams in the end
    state: str = ""  # directory to keep what was learned in; "" = nowhere


class Server:
    """Built once, run once."""

    def __init__(self, options: Options, backend: Backend | None) -> None:
        self._options = options
        self._backend = backend
        self._batch = Batch(backend) if backend else None
        self._door = Door(options.runtime, wire.TONGUE)
        self._desk = Desk(self._batch, self._status)
        self._publisher = Publisher(
            options.prefix, bytes.fromhex(backend.digest) if backend else b""
        )
        self._telemetry = Follower(options.prefix, "telemetry")
        self._stream: Stream | None = None
        self._listening = False  # to that stream
        self._forecaster: Forecaster | None = None
        self._keep = Keep(options.state)
        self._learned = Learned(backend.digest if backend else "")
        self._learned.load(self._keep)
        self._clock = Clock()
        self._forecasts = 0
        self._reason = ""
        self.stopping = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "stopping", True))
        journal.notify("READY=1")
        beat = Every(HEARTBEAT_S, self._publisher.heartbeat)
        bark = Every((journal.watchdog_interval() or 0) / 2, lambda: journal.notify("WATCHDOG=1"))
        save = Every(SAVE_S, self._save, time.monotonic())
        save_days = Every(SAVE_DAYS_S, self._save_days, time.monotonic())
        try:
            self._listen()  # who asks first is told of one who has looked
            while not self.stopping:
                self._turn()
                beat.maybe()
                bark.maybe()
                save.maybe()
                save_days.maybe()
        finally:
            journal.notify("STOPPING=1")
            if self._options.transient:
                self._publisher.retire()
            self._publisher.close()
            self._telemetry.close()
            self._save()
            self._save_days()
            self._keep.close()
            self._door.close()

    def _turn(self) -> None:
        if self._door.wait(self._pause_ms()):
            for asked in self._door.receive():
                self._desk.take(asked.request, asked.answer)
        self._listen()
        if self._batch and self._batch.wait_ns() == 0:
            self._batch.run()

    def _listen(self) -> None:
        """Take what telemetry has come; another stream is the same machine's other series."""
        stream = self._telemetry.stream()
        try:
            if stream is not self._stream:
                self._begin(stream)
            if stream is None:
                self._say(self._telemetry.reason)
            if self._current is None:
                return
            made = self._current.tick()
        except Lapped:
            return  # overtaken while copying: the next look takes newer rows
        except RingError as error:
            self._say(str(error))
            self._telemetry.close()
            return
        if made is not None:
            self._clock.sample(self._current.recent.step_s)
            self._publish(made)

    def _begin(self, stream: Stream | None) -> None:
        """RingError or Lapped: the next look begins anew."""
        self._stream, self._listening = None, False
        if stream is None:
            return
        try:
            recent = Recent(stream, self._options.series)
        except (KeyError, TypeError, ValueError) as error:
            self._say(f"telemetry has a schema that can't be read: {error!r}")
            self._stream = stream
            return
        if self._forecaster is None or not self._forecaster.follow(recent):
            self._start(Recent(stream, self._options.series))
        self._stream, self._listening, self._reason = stream, True, ""
        log.info("forecasting %d of %d series", len(recent.series), len(recent.every))

    @property
    def _current(self) -> Forecaster | None:
        """The forecaster, while there is telemetry for it."""
        return self._forecaster if self._listening else None

    def _start(self, recent: Recent) -> None:
        if self._forecaster:
            self._forecaster.note()
        digest = self._backend.digest if self._backend else ""
        pace = Pace(self._options.model_every)
        self._forecaster = Forecaster(recent, self._batch, digest, pace, self._learned)

    def _save(self) -> None:
        if self._forecaster:
            self._forecaster.save(self._keep)

    def _save_days(self) -> None:
        if self._forecaster:
            self._learned.save_days(self._keep)

    def _publish(self, made: Made) -> None:
        forecast = made.forecast
        try:
            self._publisher.forecast(forecast, made.age)
            if made.embedding is not None:
                self._publisher.embedding(made.embedding, forecast.source_n, forecast.t_ns)
        except RingError as error:
            # No room for a new stream: the next forecast tries again, the baseline stands in.
            self._say(str(error), "forecasts can't be published")
            return
        self._forecasts += 1

    def _status(self, request: wire.Request) -> wire.Reply:
        forecaster = self._current
        if isinstance(request, wire.Ping):
            seen = forecaster.recent.last_n if forecaster else -1
            return wire.Pong(request.id, seen, "forecasting" if forecaster else "waiting")
        if isinstance(request, wire.Stats):
            return wire.Counted(request.id, self._stats())
        return wire.Described(
            request.id,
            self._backend.digest if self._backend else "",
            tuple(s.name for s in forecaster.recent.series) if forecaster else (),
            forecaster.horizons_s if forecaster else (),
            CONTEXT,
            forecaster.pace.every if forecaster else 0,
        )

    def _stats(self) -> dict[str, float]:
        batch, door, forecaster = self._batch, self._door.counts, self._current
        counted: dict[str, float] = {
            "forecasts": self._forecasts,
            "requests": door.requests,
            "malformed": door.malformed,
        }
        if batch:
            counted |= {"runs": batch.runs, "jobs": batch.jobs, "late": batch.late}
        if forecaster:
            counted |= forecaster.pace.stats()
        return counted

    def _pause_ms(self) -> int:
        if self._current and self._current.behind:
            return 0
        waits = [self._clock.pause_ms() if self._current else LATE_MS]
        batch_ns = self._batch.wait_ns() if self._batch else None
        if batch_ns is not None:
            waits.append(batch_ns // 1_000_000)
        return min(waits)

    def _say(self, reason: str, trouble: str = "waiting for telemetry") -> None:
        """Once, not every turn."""
        if reason != self._reason:
            self._reason = reason
            log.warning("%s: %s", trouble, reason)


class Clock:
    """When the next sample is due, from when the last one came."""

    def __init__(self) -> None:
        self._due_ns = 0

    def sample(self, step_s: float) -> None:
        """One came just now."""
        self._due_ns = time.monotonic_ns() + int(step_s * 1e9)

    def pause_ms(self) -> int:
        """How long to sleep: until just before it is due, then in short looks."""
        ahead_ms = (self._due_ns - time.monotonic_ns()) // 1_000_000
        if ahead_ms > 2 * NEAR_MS:
            return min(IDLE_MS, ahead_ms - NEAR_MS)
        return NEAR_MS if ahead_ms > -LATE_MS else LATE_MS
