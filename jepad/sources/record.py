"""Telemetry written to a file that replay.py reads.

Owns: appending so that a crash at any moment costs the last rows and never the file: a line, or
a whole gzip member, is one write; what an earlier crash cut off is removed before going on.
Does not know: where samples come from.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence

import numpy as np

from jepad.errors import SettingError
from jepad.records import Floats, Series
from jepad.sources.csvtrace import whole

#: Lines in one gzip member: fewer compress badly, more are lost in a crash.
_MEMBER_LINES = 30


class TraceWriter:
    """Appends rows to `<path>.csv` or `<path>.csv.gz`, making the file where there is none."""

    def __init__(self, path: str, series: Sequence[Series]) -> None:
        """Continue the file if it has the same series; SettingError if it has others."""
        if not path.endswith((".csv", ".csv.gz")):
            raise SettingError(f"{path}: a trace is written as .csv or .csv.gz")
        self.path = path
        self._packed = path.endswith(".gz")
        self._pending: list[bytes] = []
        self._columns = len(series)
        header = ",".join(["t", *(s.name for s in series)]).encode()
        if b"\n" in header or header.count(b",") != len(series):
            raise SettingError(f"{path}: a series' name holds a comma or a line break")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise SettingError(f"{path}: {error.strerror}") from error
        try:
            self._continue(header)
        except BaseException:
            os.close(self._fd)
            raise

    def _continue(self, header: bytes) -> None:
        lines, good, torn = whole(self.path)
        if torn:
            os.ftruncate(self._fd, good)
            lines, _, _ = whole(self.path)
        if not lines:
            self._write(header + b"\n")
        elif lines.split(b"\n", 1)[0] != header:
            raise SettingError(f"{self.path}: holds other series; record into another file")

    def append(self, t_s: float, values: Floats) -> None:
        """One row; NaN is written as nothing. `t_s` must be later than the row before."""
        if values.shape != (self._columns,):
            raise ValueError(f"{values.shape} values for {self._columns} series")
        known = np.isfinite(values)
        fields = [_field(v) if k else "" for v, k in zip(values.tolist(), known, strict=True)]
        line = ",".join([_field(t_s), *fields]).encode() + b"\n"
        if not self._packed:
            self._write(line)
            return
        self._pending.append(line)
        if len(self._pending) >= _MEMBER_LINES:
            self.flush()

    def flush(self) -> None:
        """Write the rows a gz file still waits for."""
        lines, self._pending = b"".join(self._pending), []
        if lines:
            self._write(lines)

    def close(self) -> None:
        """Write what waits and let go of the file."""
        self.flush()
        os.close(self._fd)

    def _write(self, lines: bytes) -> None:
        data = gzip.compress(lines, mtime=0) if self._packed else lines
        while data:
            data = data[os.write(self._fd, data) :]


def _field(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
