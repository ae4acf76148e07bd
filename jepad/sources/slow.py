"""A source that may block, kept off the tick.

Owns: one thread a source, its newest answer and the answer's age. Sensors behind slow buses and
file systems on dying disks can hang for seconds in the kernel; a tick must not hang with them.
Does not know: what is read.
"""

from __future__ import annotations

import threading
import time

from jepad.errors import SourceError
from jepad.records import Series
from jepad.sources.source import PartlyRead, Source

#: How long a caller waits for a first answer.
_PATIENCE_S = 0.5


class Slow:
    """Wraps a source: read() gives the newest answer of its thread and doesn't wait for more."""

    def __init__(self, source: Source, period_s: float) -> None:
        """The thread starts with the first describe() and sleeps while the source is absent."""
        self.source = source
        self.name = source.name
        self._period_s = period_s
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._asked = 0
        self._answered = 0
        self._series: tuple[Series, ...] = ()
        self._values: dict[str, float] = {}
        self._error: SourceError | None = None
        self._at = time.monotonic()

    def describe(self) -> tuple[Series, ...]:
        """What there is; the last known answer when the thread is stuck."""
        with self._turn:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name=f"source-{self.name}", daemon=True
                )
                self._thread.start()
            self._asked += 1
            asked = self._asked
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._answered >= asked, _PATIENCE_S)
            return self._series

    def read(self) -> dict[str, float]:
        """The newest answer; SourceError when it failed or is too old to be called one."""
        with self._turn:
            error, values, age_s = self._error, self._values, time.monotonic() - self._at
        if age_s > 3 * self._period_s + _PATIENCE_S:
            raise SourceError(f"{self.name}: no answer for {age_s:.0f} s")
        if isinstance(error, PartlyRead):
            raise PartlyRead(str(error), values)
        if error:
            raise SourceError(str(error))
        return values

    def close(self) -> None:
        """Let the thread end; one stuck in the kernel ends with the program."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()

    def _run(self) -> None:
        series: tuple[Series, ...] = ()
        answered = 0
        while not self._closed:
            asked = self._asked
            error: SourceError | None = None
            values: dict[str, float] = {}
            try:
                if asked != answered:
                    series = self.source.describe()
                values = self.source.read() if series else {}
            except PartlyRead as partly:
                error, values = partly, partly.values
            except SourceError as failed:
                error = failed
            answered = asked
            with self._turn:
                self._series, self._values, self._error = series, values, error
                self._answered, self._at = answered, time.monotonic()
                self._turn.notify_all()
                self._turn.wait_for(
                    lambda: self._closed or self._asked != self._answered,
                    self._period_s if series else None,
                )
