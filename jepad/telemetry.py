"""Source.read → Sample → Ring.write: the telemetry stream and its history.

Owns: the telemetry stream, its re-creation when the set of series changes. Does not know: what
the series mean, who reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from jepad import config
from jepad.errors import BusError, RingError
from jepad.records import Floats, Sample, Series, SourceState, Window
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer

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
        """Follow hot-plugged series: retire the stream, make a new one, carry the history over."""
        if not self._sampler.redescribe():
            return False
        old, names = self.window(self._ring.telemetry_slots - 1), self._series
        self._writer.retire()
        self._stream.close()
        self._open()
        for sample in _carried(old, names, self._series):
            self._publish(sample)
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
        return self._writer.publish(sample.values, t_ns=sample.t_ns, flags=sample.flags)

    def _open(self) -> None:
        self._series = self._sampler.series
        schema = {
            "series": [
                {"name": s.name, "unit": s.unit, "semantics": s.semantics} for s in self._series
            ],
            "interval_s": self._interval_s,
        }
        layout = Layout(
            STREAM, np.dtype(np.float64), (len(self._series),), schema, self._ring.telemetry_slots
        )
        group = self._ring.group or None
        try:
            self._writer = Writer.create(self._prefix, layout, mode=0o640, group=group)
        except RingError as error:
            if "is held" not in str(error):
                raise
            raise BusError(
                f"a jepad runs already: {error}. Ask it: jepactl status; or stop it first"
            ) from error
        self._stream = Stream(self._prefix, STREAM)


def _carried(old: Window, before: tuple[Series, ...], after: tuple[Series, ...]) -> list[Sample]:
    """The old rows under the new columns; series that were not there are NaN."""
    place = {s: i for i, s in enumerate(before)}
    source = np.array([place.get(s, -1) for s in after])
    values: Floats = np.where(source >= 0, old.values[:, source], np.nan)
    return [
        Sample(int(t), row, int(flag))
        for t, row, flag in zip(old.t_ns, values, old.flags, strict=True)
    ]
