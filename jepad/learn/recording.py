"""A recording in csv.gz as a table of numbers, or the line that is none.

Owns: what a training accepts of a recording: all of it or nothing, and the place of what is wrong.
(sources/csvtrace.py reads the same files for replay and forgives a torn end.) Does not know:
rates, who recorded.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence

import numpy as np

from jepad.errors import SettingError
from jepad.records import Floats
from jepad.sources.traces import MAX_BYTES, later

#: Columns of recordings that are labels or the recorder's own.
_ASIDE = {"label", "ops", "maxlat_us", "lag_ms", "wl", "selfcpu_ms", "last_pid"}
_PIECE = 1 << 16


def aside(column: str) -> bool:
    """Whether a column is no telemetry."""
    return column in _ASIDE or column.startswith("label.")


def table(path: str) -> tuple[list[str], Floats]:
    """Columns, `t` among them, and their rows; SettingError "FILE:LINE: ..." where one is bad."""
    text, torn = _text(path)
    lines = text.split(b"\n")[:-1]
    if not lines:
        what = "ends within its first line" if torn else "empty"
        raise SettingError(f"{path}:1: {what}; a recording has a header and rows")
    header = lines[0].decode("utf-8", "replace").rstrip("\r").split(",")
    keep = _columns(path, header)
    rows = np.empty((len(lines) - 1, len(keep)))
    for i, line in enumerate(lines[1:]):
        fields = line.split(b",")
        if len(fields) != len(header):
            raise SettingError(
                f"{path}:{i + 2}: {len(fields)} columns, where the header has {len(header)}"
            )
        rows[i] = _row(f"{path}:{i + 2}", fields, header, keep)
    if torn:
        raise SettingError(
            f"{path}:{len(lines) + 1}: the file is cut off or damaged here; copy it again, or "
            "leave it out"
        )
    columns = [header[i] for i in keep]
    t_s = rows[:, columns.index("t")]
    _rising(path, t_s)
    # A recorder that was late catches up within one tick of its clock.
    return columns, rows[later(t_s)]


def _text(path: str) -> tuple[bytes, bool]:
    """What could be unpacked, and whether more was there, cut off or damaged."""
    parts: list[bytes] = []
    size = 0
    try:
        with gzip.open(path) as f:
            while piece := f.read1(_PIECE):
                parts.append(piece)
                size += len(piece)
                if size > MAX_BYTES:
                    raise SettingError(f"{path}: unpacks to more than {MAX_BYTES >> 20} MiB")
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        if not parts:
            raise SettingError(f"{path}:1: not a gzip file, or damaged ({e})") from e
        return b"".join(parts), True
    except OSError as e:
        raise SettingError(f"{path}: {e.strerror}") from e
    text = b"".join(parts)
    return text, bool(text) and not text.endswith(b"\n")


def _columns(path: str, header: Sequence[str]) -> list[int]:
    """Places of the columns to be read."""
    if "t" not in header:
        raise SettingError(f"{path}:1: no column `t` (seconds) in the header")
    twice = next((c for c in header if not c or header.count(c) > 1), None)
    if twice is not None:
        raise SettingError(f"{path}:1: column {twice!r} is empty or there twice")
    keep = [i for i, c in enumerate(header) if not aside(c)]
    if len(keep) < 2:
        raise SettingError(f"{path}:1: no column of telemetry beside `t`")
    return keep


def _row(
    where: str, fields: Sequence[bytes], header: Sequence[str], keep: Sequence[int]
) -> list[float]:
    """An empty field is a value not seen; infinity is no value."""
    try:
        row = [float(fields[i] or b"nan") for i in keep]
    except ValueError:
        row = [math.inf]
    if math.inf in row or -math.inf in row:
        bad = next(i for i in keep if not _is_number(fields[i]))
        said = fields[bad][:40].decode("utf-8", "replace")
        raise SettingError(f"{where}: column {header[bad]!r} is no number: {said!r}")
    return row


def _is_number(field: bytes) -> bool:
    try:
        return not math.isinf(float(field or b"nan"))
    except ValueError:
        return False


def _rising(path: str, t_s: Floats) -> None:
    """Refuse unknown times, a clock set back, and one that stands."""
    unknown = np.flatnonzero(np.isnan(t_s))
    if len(unknown):
        raise SettingError(f"{path}:{unknown[0] + 2}: no time in column `t`")
    back = np.flatnonzero(np.diff(t_s) < 0)
    if len(back):
        raise SettingError(
            f"{path}:{back[0] + 3}: time falls from {t_s[back[0]]} to {t_s[back[0] + 1]}; split "
            "the file there"
        )
    if (rows := int(later(t_s).sum())) < 3:
        raise SettingError(f"{path}:{len(t_s) + 1}: ends after {rows} moments; 3 make a trace")
