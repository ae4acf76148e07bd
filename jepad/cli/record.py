"""`jepactl record`: telemetry of now into a trace that `jepad --replay` reads.

Owns: following the stream without a gap, the progress bar. Does not know the file's format.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from argparse import Namespace
from dataclasses import dataclass

from jepad.cli import output, rings
from jepad.errors import Lapped, SettingError
from jepad.records import Series
from jepad.ring.stream import Stream
from jepad.sources.record import TraceWriter

WAIT_S = 1.0  # for a sample, before we look at the clock again
SILENT_S = 15.0  # without a sample, after which the writer counts as gone
BAR = 24


@dataclass(slots=True)
class Progress:
    """Samples written and lost, and how far we are."""

    start: float
    seconds: float
    written: int = 0
    lost: int = 0

    @property
    def share(self) -> float:
        """Part of the time that is over."""
        return min(1.0, (time.monotonic() - self.start) / self.seconds)


def run(options: Namespace) -> int:
    """The verb; Ctrl-C ends a recording well, what was written stays."""
    if os.path.exists(options.file) and not options.force:
        raise SettingError(f"{options.file} exists. Choose another name, or add --force.")
    with rings.open_stream(options.bus, rings.TELEMETRY) as stream:
        series = rings.series_of(stream)
        progress = Progress(time.monotonic(), options.seconds or float("inf"))
        why = _write(options.file, series, stream, progress)
    if options.json:
        shape = {"file": options.file, "samples": progress.written, "lost": progress.lost,
                 "series": len(series), "ended": why}  # fmt: skip
        output.say_json(shape)
    lost = f", {progress.lost} lost" if progress.lost else ""
    output.note(f"{progress.written} samples of {len(series)} series{lost}; ended: {why}")
    return 0 if why in ("time", "interrupt") else 1


def _write(path: str, series: tuple[Series, ...], stream: Stream, progress: Progress) -> str:
    """Copy samples until there is a reason to end; the reason."""
    bar = sys.stderr.isatty()
    if os.path.exists(path):
        os.unlink(path)
    try:
        with contextlib.closing(TraceWriter(path, series)) as trace:
            return _follow(stream, trace, progress, bar)
    except KeyboardInterrupt:
        return "interrupt"
    finally:
        if bar:
            sys.stderr.write("\r\x1b[K")


def _follow(stream: Stream, trace: TraceWriter, progress: Progress, bar: bool) -> str:
    last, heard = stream.head, time.monotonic()
    while progress.share < 1.0:
        try:
            frame = stream.read(after=last, timeout=WAIT_S)
        except Lapped:
            progress.lost += stream.head - 1 - last
            last = stream.head - 1
            continue
        if frame is None:
            if stream.state == "retired":
                return "the set of series changed; record again for the new one"
            if time.monotonic() - heard > SILENT_S:
                return f"no sample for {SILENT_S:.0f} s; the writer is {stream.state}"
        else:
            last, heard = frame.n, time.monotonic()
            trace.append(frame.t_ns / 1e9, frame.array)
            progress.written += 1
        if bar:
            _draw(progress)
    return "time"


def _draw(progress: Progress) -> None:
    if progress.seconds == float("inf"):
        text = f"{progress.written} samples; Ctrl-C ends"
    else:
        full = round(BAR * progress.share)
        bar = "#" * full + "." * (BAR - full)
        text = f"[{bar}] {progress.share:4.0%}  {progress.written} samples"
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()
