"""Recorded telemetry from files: one `Trace` a host, counters already rates.

Owns: the file formats of public sets (npz) and of jepad's own recordings (csv.gz).
Does not know: what a trace will be used for.
"""

from __future__ import annotations

import csv
import glob
import gzip
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.errors import SettingError
from jepad.records import Floats32

#: Columns of recordings that are clocks, labels or the recorder's own.
_ASIDE = {"t", "label", "ops", "maxlat_us", "lag_ms", "wl", "selfcpu_ms", "last_pid"}
_SAMPLING_S = {"smd": 60.0, "asd": 300.0, "jumpstarter2": 300.0, "jumpstarter3": 300.0}


@dataclass(frozen=True, slots=True)
class Trace:
    """One host's (or device's, or job's) channels over time."""

    source: str  # file name without ending
    host: str
    dt_s: float
    values: Floats32  # [T, C], NaN = missing

    @property
    def key(self) -> str:
        """Names a host across files."""
        return f"{self.source}:{self.host}"


def files(directory: str) -> list[str]:
    """The telemetry files of a directory, by their endings."""
    paths = [p for end in ("*.npz", "*.csv.gz") for p in glob.glob(os.path.join(directory, end))]
    if not paths:
        raise SettingError(f"{directory}: no .npz or .csv.gz files there; name a data directory")
    return sorted(paths)


def read_all(directory: str) -> list[Trace]:
    """Every trace of every file in `directory`; a file of no known format is refused by name."""
    return [trace for path in files(directory) for trace in read(path)]


def read(path: str) -> list[Trace]:
    """The traces of one file, by its shape and not by its name."""
    name = os.path.basename(path).split(".")[0]
    try:
        if path.endswith(".csv.gz"):
            return [_csv(path, name)]
        with np.load(path) as z:
            return list(_npz(z, name))
    except (OSError, ValueError, KeyError, IndexError) as e:
        raise SettingError(f"{path}: not a telemetry file of a known format ({e})") from e


def digest(path: str) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _npz(z: np.lib.npyio.NpzFile, name: str) -> Iterator[Trace]:
    keys = set(z.files)
    if {"X", "offsets", "host", "dt"} <= keys:
        yield from _stacked(z, name)
    elif {"x", "cols"} <= keys:
        yield _recorded(name, [str(c) for c in z["cols"]], z["x"].astype(np.float64))
    elif any(k.endswith("|v") for k in keys):
        yield from _timed(z, name)
    else:
        yield from _halves(z, name)


def _stacked(z: np.lib.npyio.NpzFile, name: str) -> Iterator[Trace]:
    """All series one after another."""
    rows, offsets = z["X"], z["offsets"]
    for i, (host, dt) in enumerate(zip(z["host"], z["dt"], strict=True)):
        values = rows[offsets[i] : offsets[i + 1]].astype(np.float32)
        seen = np.isfinite(values).any(0)
        if seen.any():
            yield Trace(name, str(host), float(dt), values[:, seen])


def _halves(z: np.lib.npyio.NpzFile, name: str) -> Iterator[Trace]:
    """`<host>_train` then `<host>_test`, one after the other in time."""
    hosts = sorted({k.removesuffix("_test") for k in z.files if k.endswith("_test")})
    hosts += [
        h for k in z.files if k.endswith("_train") and (h := k.removesuffix("_train")) not in hosts
    ]
    if not hosts:
        raise ValueError(f"arrays {', '.join(z.files[:3])}...")
    for host in hosts:
        parts = [z[f"{host}_{half}"] for half in ("train", "test") if f"{host}_{half}" in z.files]
        values = np.concatenate(parts).astype(np.float32)
        dt = _SAMPLING_S.get(name, 60.0 if values.shape[1] == 38 else 300.0)
        yield Trace(name, host, dt, values)


def _timed(z: np.lib.npyio.NpzFile, name: str) -> Iterator[Trace]:
    """Single series with their times; the very irregular ones are left out."""
    for key in sorted(k.removesuffix("|v") for k in z.files if k.endswith("|v")):
        values, step = z[f"{key}|v"].astype(np.float32), np.diff(z[f"{key}|t"])
        dt = float(np.median(step))
        if dt > 0 and np.mean(np.abs(step - dt) > dt / 2) < 0.05:
            yield Trace(name, key, dt, values[:, None])


def _csv(path: str, name: str) -> Trace:
    with gzip.open(path, "rt", newline="") as f:
        rows = csv.reader(f)
        header = next(rows)
        keep = [i for i, c in enumerate(header) if c not in _ASIDE or c == "t"]
        table = [[float(row[i] or "nan") for i in keep] for row in rows if len(row) == len(header)]
    return _recorded(name, [header[i] for i in keep], np.asarray(table))


def _recorded(name: str, columns: list[str], table: NDArray[np.float64]) -> Trace:
    """jepad's own recordings: counters become rates per second."""
    t = table[:, columns.index("t")]
    step = np.diff(t)
    dt = float(np.median(step))
    keep = [i for i, c in enumerate(columns) if c not in _ASIDE]
    values = table[1:, keep].copy()
    for j, i in enumerate(keep):
        change = np.diff(table[:, i])
        if is_counter(columns[i]) and not (change < 0).any():
            values[:, j] = change / np.maximum(step, dt / 4)
    return Trace(name, name, dt, values.astype(np.float32))


def is_counter(column: str) -> bool:
    """Whether a column of a recording only grows, by its name."""
    instant = ("mem.", "load", "vm.nr_", "procs_", "tcp.", "rss", "top", "nthreads", "nproc", "fd")
    return not column.startswith(instant) and not column.endswith((".avg10", ".infl"))
