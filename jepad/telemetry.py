"""Source.read → Sample → Ring.write: the telemetry stream and its history.

Owns: the telemetry stream, its re-creation when the set of series changes. Does not know: what
the series mean, who reads them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jepad import config
from jepad.errors import BusError, JepadError, RingError, SettingError
from jepad.heads.history import moved
from jepad.records import Floats, Sample, Series, SourceState, Window
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.successor import Successor
from jepad.ring.writer import Writer

log = logging.getLogger(__name__)

STREAM = "telemetry"


class Sampler(Protocol):
    """Live sources or a replayed trace."""

    @property
    def series(self) -> tuple[Series, ...]:
        """What `take` gives, in order."""

    @property
    def states(self) -> Sequence[SourceState]:
        """How each source did on the last take."""

    def take(self) -> Sample:
        """Read every source once; NotReady at the end of a trace."""

    def redescribe(self) -> bool:
        """Look for new and gone series; True if the set changed."""


class Telemetry:
    """Samples into the ring, one call a tick."""

    def __init__(self, sampler: Sampler, prefix: str, ring: config.Ring, interval_s: float) -> None:
        self._sampler = sampler
        self._prefix = prefix
        self._ring = ring
        self._interval_s = interval_s
        self._columns: NDArray[np.intp] | None = None  # of the sampler, where the stream's differ
        self.samples = 0  # of this run; the stream's numbers go on from earlier ones
        self._open()

    @property
    def series(self) -> tuple[Series, ...]:
        """The series of the stream, in column order."""
        return self._series

    @property
    def states(self) -> Sequence[SourceState]:
        """How each source did on the last tick."""
        return self._sampler.states

    @property
    def head(self) -> int:
        """Sequence of the newest sample, -1 before the first."""
        return self._stream.head

    def tick(self) -> int:
        """Take one sample and publish it; its sequence. NotReady at the end of a trace."""
        n = self._publish(self._sampler.take())
        self.samples += 1
        return n

    def heartbeat(self) -> None:
        """Tell readers that the writer lives, between samples."""
        self._writer.heartbeat()

    def redescribe(self) -> bool:
        """Follow hot-plugged series: a new stream takes the old one's place, history and all.

        Where there is no room for it the old one goes on with what it has of the new set, and the
        next look tries again."""
        if not self._sampler.redescribe() and self._columns is None:
            return False
        if self._sampler.series == self._series:
            self._columns = None  # what had come is gone again
            return False
        try:
            successor = Successor(self._prefix, self._layout(), 0o640, self._ring.group or None)
        except (RingError, SettingError) as error:
            self._stay(error)
            return False
        old, before = self.window(self._ring.telemetry_slots - 1), self._series
        for sample in _carried(old, before, self._sampler.series):
            successor.writer.publish(sample.values, t_ns=sample.t_ns, flags=sample.flags)
        self._stream.close()
        self._take(successor.replace(self._writer))
        log.info("the series changed: %d of %d stay", *_kept(before, self._series))
        return True

    def window(self, count: int) -> Window:
        """The newest `count` samples at most."""
        values, t_ns, flags, last_n = self._stream.window(count)
        return Window(self._series, t_ns, values, flags, last_n)

    def close(self) -> None:
        """Mark the stream stopped; readers keep their map."""
        self._writer.close()
        self._stream.close()

    def retire(self) -> None:
        """Remove the stream: nobody writes it again."""
        self._writer.retire()
        self._stream.close()

    def _publish(self, sample: Sample) -> int:
        values = sample.values
        if self._columns is not None:
            values = moved(values, self._columns, np.nan)
        return self._writer.publish(values, t_ns=sample.t_ns, flags=sample.flags)

    def _stay(self, error: JepadError) -> None:
        """With the stream there is: values of series it has not are left out."""
        if self._columns is None:
            log.error("the series changed, but no stream can be made for the new set: %s", error)
        self._columns = _places(self._sampler.series, self._series)

    def _layout(self) -> Layout:
        series = self._sampler.series
        schema = {
            "series": [{"name": s.name, "unit": s.unit, "semantics": s.semantics} for s in series],
            "interval_s": self._interval_s,
        }
        shape, slots = (len(series),), self._ring.telemetry_slots
        return Layout(STREAM, np.dtype(np.float64), shape, schema, slots)

    def _open(self) -> None:
        group = self._ring.group or None
        try:
            writer = Writer.create(self._prefix, self._layout(), mode=0o640, group=group)
        except RingError as error:
            if "is held" not in str(error):
                raise
            raise BusError(
                f"a jepad runs already: {error}. Ask it: jepactl status; or stop it first"
            ) from error
        self._take(writer)

    def _take(self, writer: Writer) -> None:
        """A writer of the sampler's series as they are now."""
        self._writer, self._series, self._columns = writer, self._sampler.series, None
        self._stream = Stream(self._prefix, STREAM)


def _places(before: Sequence[Series], after: Sequence[Series]) -> NDArray[np.intp]:
    """Where each series of `after` was in `before`; -1 = nowhere."""
    place = {s: i for i, s in enumerate(before)}
    return np.array([place.get(s, -1) for s in after], np.intp)


def _kept(before: Sequence[Series], after: Sequence[Series]) -> tuple[int, int]:
    return int((_places(before, after) >= 0).sum()), len(before)


def _carried(old: Window, before: tuple[Series, ...], after: tuple[Series, ...]) -> list[Sample]:
    """The old rows under the new columns; series that were not there are NaN."""
    source = _places(before, after)
    values: Floats = moved(old.values.T, source, np.nan).T
    return [
        Sample(int(t), row, int(flag))
        for t, row, flag in zip(old.t_ns, values, old.flags, strict=True)
    ]
