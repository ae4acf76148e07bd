"""Traces as CSV, plain or gz: a header `t,<series>...`, then a line a sample.

Owns: reading them, whole lines only: what a crash cut off is dropped and said. Does not know:
who wrote them (record.py).
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from jepad.errors import SettingError
from jepad.records import Floats
from jepad.sources.naming import named
from jepad.sources.traces import MAX_BYTES, Trace, later, median_step

_CHUNK = 1 << 20
_COLUMNS = 4096
#: Columns of words a recorder put beside the numbers.
_WORDS = frozenset({"wl", "workload", "note"})


def whole(path: str) -> tuple[bytes, int, bool]:
    """All whole lines of a file, the file bytes that hold them, and whether more was there, cut."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror}") from error
    lines, good = _inflate(path, data) if path.endswith(".gz") else (data, len(data))
    if len(lines) > MAX_BYTES:
        raise SettingError(f"{path}: unpacks to more than {MAX_BYTES >> 20} MiB")
    end = lines.rfind(b"\n") + 1
    torn = end < len(lines) or good < len(data)
    return lines[:end], good if path.endswith(".gz") else end, torn


def _inflate(path: str, data: bytes) -> tuple[bytes, int]:
    """What a file of gzip members holds, and the bytes up to its last complete member."""
    parts: list[bytes] = []
    total = good = 0
    while good < len(data) and total <= MAX_BYTES:
        member = zlib.decompressobj(wbits=31)
        at, pending, more = good, b"", True
        try:
            while more and not member.eof and total <= MAX_BYTES:
                if not pending:
                    pending = data[at : at + _CHUNK]
                    at += len(pending)
                part = member.decompress(pending, _CHUNK)
                parts.append(part)
                total += len(part)
                pending = member.unconsumed_tail
                more = bool(pending) or at < len(data) or len(part) == _CHUNK
        except zlib.error as error:
            if not total:
                raise SettingError(f"{path}: not a gzip file: {error}") from error
            break
        if not member.eof:
            break
        good = at - len(member.unused_data)
    return b"".join(parts), good


def read_csv(path: str) -> Trace:
    """The trace in a CSV file; SettingError names the line and column that is no number."""
    lines, _, torn = whole(path)
    rows = lines.split(b"\n")[:-1]
    if not rows:
        raise SettingError(f"{path}: empty, or not a text file")
    header = _header(path, rows[0])
    if len(rows) < 2:
        raise SettingError(f"{path}: has a header but no row")
    table = _table(path, header, rows[1:])
    unknown = np.flatnonzero(np.isnan(table[:, 0]))
    if len(unknown):
        raise SettingError(f"{path}: line {unknown[0] + 2}, column 't': no time")
    table = table[later(table[:, 0])]
    t_s = table[:, 0]
    keep = [i for i, name in enumerate(header) if i and name not in _WORDS | {"label"}]
    return Trace(
        series=tuple(named(header[i]) for i in keep),
        t_s=t_s,
        values=table[:, keep],
        dt_s=median_step(t_s),
        name=os.path.basename(path).split(".")[0],
        host=os.path.basename(path).split(".")[0],
        label=_label(table, header),
        torn=torn,
    )


def _header(path: str, line: bytes) -> list[str]:
    names = line.decode("utf-8", "replace").rstrip("\r").split(",")
    if names[0] != "t" or not 1 < len(names) <= _COLUMNS:
        raise SettingError(f"{path}: line 1 is not a header `t,<series>...`")
    series = [named(name).name for name in names]
    twice = next((name for name in series if not name or series.count(name) > 1), None)
    if twice is not None:
        raise SettingError(f"{path}: line 1: column {twice!r} is empty or there twice")
    return names


def _table(path: str, header: list[str], rows: list[bytes]) -> Floats:
    table = np.empty((len(rows), len(header)))
    words = [i for i, name in enumerate(header) if name in _WORDS]
    for at, row in enumerate(rows):
        fields = row.split(b",")
        for i in words:
            if i < len(fields):
                fields[i] = b"nan"
        if len(fields) != len(header):
            raise SettingError(
                f"{path}: line {at + 2} has {len(fields)} columns, the header {len(header)}"
            )
        try:
            table[at] = _floats(fields)
        except ValueError:
            column = next(i for i, field in enumerate(fields) if not _is_number(field))
            raise SettingError(
                f"{path}: line {at + 2}, column {header[column]!r}: "
                f"not a number: {fields[column][:40].decode('utf-8', 'replace')!r}"
            ) from None
    return table


def _floats(fields: Iterable[bytes]) -> list[float]:
    """An empty field is a value not seen; infinity is no value."""
    row = [float(field or b"nan") for field in fields]
    if math.inf in row or -math.inf in row:
        raise ValueError("infinite")
    return row


def _is_number(field: bytes) -> bool:
    try:
        _floats((field,))
    except ValueError:
        return False
    return True


def _label(table: Floats, header: list[str]) -> NDArray[np.uint8] | None:
    if "label" not in header:
        return None
    return (table[:, header.index("label")] > 0).astype(np.uint8)
