"""Recorded traces in place of the live machine.

Owns: opening whatever file holds traces, and handing out its rows as samples. Does not know: how
each format is laid out (csvtrace.py, npztrace.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jepad.errors import NotReady, SettingError
from jepad.records import GAP, Sample, Series, SourceState
from jepad.sources.csvtrace import read_csv
from jepad.sources.npztrace import npz_traces
from jepad.sources.traces import Trace

#: So many median steps without a row are time unseen.
_MISSED = 2.5


def _cuts(path: str) -> list[tuple[str, Callable[[], Trace]]]:
    if path.endswith(".npz"):
        return npz_traces(path)
    if path.endswith((".csv", ".csv.gz")):
        trace = read_csv(path)
        return [(trace.name, lambda: trace)]
    raise SettingError(f"{path}: not a trace: use .csv, .csv.gz or .npz")


def trace_names(path: str) -> tuple[str, ...]:
    """Names of the traces in a file."""
    return tuple(name for name, _ in _cuts(path))


def read_trace(path: str, name: str | None = None) -> Trace:
    """The trace of that name, or the first of the file."""
    cuts = _cuts(path)
    for found, cut in cuts:
        if name in {None, found}:
            return cut()
    known = ", ".join(found for found, _ in cuts[:5])
    raise SettingError(f"{path}: no trace is called {name!r}; there are {len(cuts)}: {known}, ...")


def read_traces(path: str) -> Iterator[Trace]:
    """All traces of a file, one at a time."""
    for _, cut in _cuts(path):
        yield cut()


class Replay:
    """A trace behind the face of a Snapshot: take() gives row after row, then NotReady."""

    def __init__(self, trace: Trace, start_t_ns: int = 0) -> None:
        """`start_t_ns` is the moment given to the first row."""
        self.series: tuple[Series, ...] = trace.series
        self.states: list[SourceState] = []
        self._trace = trace
        self._start_t_ns = start_t_ns
        self._next = 0

    def __len__(self) -> int:
        """Rows still to come."""
        return len(self._trace.t_s) - self._next

    def __iter__(self) -> Iterator[Sample]:
        """The rows still to come."""
        while len(self):
            yield self.take()

    def redescribe(self) -> bool:
        """A trace never changes its series."""
        return False

    def take(self) -> Sample:
        """The next row; GAP on the first and after time unseen."""
        if not len(self):
            raise NotReady(f"the trace {self._trace.name} is over")
        i, t_s = self._next, self._trace.t_s
        self._next += 1
        gap = i == 0 or t_s[i] - t_s[i - 1] > _MISSED * self._trace.dt_s
        t_ns = self._start_t_ns + round(float(t_s[i] - t_s[0]) * 1e9)
        return Sample(t_ns, self._trace.values[i].copy(), GAP if gap else 0)
