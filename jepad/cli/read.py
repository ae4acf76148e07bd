"""`jepactl read`: records of a stream, copied from shared memory and printed.

Owns: three formats of a record. Does not know what the numbers mean.
"""

from __future__ import annotations

import csv
import io
import itertools
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepad.cli import output, rings
from jepad.errors import Lapped, NotReady, RingError
from jepad.ring.stream import Stream

WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a stream, flattened."""

    n: int
    t_ns: int
    flags: int
    values: Sequence[float]


def run(options: Namespace) -> int:
    """The verb: the newest records, then with --follow each new one until Ctrl-C."""
    form = "json" if options.json else options.format or "table"
    with rings.open_stream(options.bus, options.stream) as stream:
        picks, labels = _labels(stream, options.series)
        say = {"json": _json, "csv": _csv, "table": _table}[form](labels)
        last = -1
        for record in _newest(stream, options.count, picks):
            say(record)
            last = record.n
        if last < 0 and not options.follow:
            raise NotReady(f"{options.stream} has no record yet. Wait for one with --follow.")
        if options.follow:
            _follow(stream, last, picks, say)
    return 0


def _newest(stream: Stream, count: int, picks: list[int]) -> Iterator[Record]:
    arrays, times, flags, last = stream.window(count)
    first = last + 1 - len(arrays)
    for i, array in enumerate(arrays):
        yield _record(first + i, (int(times[i]), int(flags[i])), array[picks])


def _follow(stream: Stream, last: int, picks: list[int], say: Any) -> None:
    try:
        while True:
            sys.stdout.flush()
            try:
                frame = stream.read(after=last, timeout=WAIT_S)
            except Lapped:
                output.note(f"lapped: records {last + 1} to {stream.head - 1} are lost")
                last = stream.head - 1
                continue
            if frame is not None:
                last = frame.n
                say(_record(frame.n, (frame.t_ns, frame.flags), frame.array[picks]))
            elif stream.state != "live":
                raise RingError(f"the stream is {stream.state}: jepad stopped or made a new one.")
    except KeyboardInterrupt:
        pass  # the way to end it


def _record(n: int, slot: tuple[int, int], array: np.ndarray) -> Record:
    return Record(n, *slot, array.ravel().tolist())


def _labels(stream: Stream, pattern: str | None) -> tuple[list[int], list[str]]:
    """Rows wanted of the first axis, and a name for each number of them, row by row."""
    shape, schema = stream.header.shape, stream.header.schema
    names = [series.name for series in rings.series_of(stream)]
    names = names or [str(i) for i in range(shape[0] if shape else 1)]
    picks = rings.matching(pattern, names)
    axes = [[names[i] for i in picks]]
    horizons = [f"{h:g}s" for h in schema.get("horizons_s", [])]
    for size in shape[1:]:
        known = [axis for axis in (horizons, schema.get("columns", [])) if len(axis) == size]
        axes.append(known[0] if known else [str(i) for i in range(size)])
    return picks, ["/".join(parts) for parts in itertools.product(*axes)]


def _json(labels: list[str]) -> Any:
    def say(record: Record) -> None:
        values = dict(zip(labels, record.values, strict=True))
        head = {"n": record.n, "t_ns": record.t_ns, "flags": record.flags}
        output.say_json({**head, "values": values}, lines=True)

    return say


def _csv(labels: list[str]) -> Any:
    _row(["n", "t_ns", "flags", *labels])

    def say(record: Record) -> None:
        _row([record.n, record.t_ns, record.flags, *map(repr, record.values)])

    return say


def _row(cells: Sequence[object]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    output.say(output.plain(line.getvalue()))


def _table(labels: list[str]) -> Any:
    width = max(map(len, labels), default=0)

    def say(record: Record) -> None:
        gap = "  after a gap" if record.flags & 1 else ""
        output.say(f"# {record.n} at {record.t_ns / 1e9:.3f} s{gap}")
        for label, value in zip(labels, record.values, strict=True):
            output.say(f"{output.plain(label):<{width}}  {value:.12g}")

    return say
