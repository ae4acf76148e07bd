"""Recorded telemetry from files: one `Trace` a host, counters already rates.

Owns: the file formats of public sets (npz) and of jepad's own recordings (csv.gz), which of a
gym's episodes are told, and what a broken file is answered with. Does not know: what a trace will
be used for.
"""

from __future__ import annotations

import glob
import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jepad.errors import SettingError
from jepad.learn import recording
from jepad.learn.gym.episodes import Episode, read_manifest, trace_path
from jepad.records import Floats, Floats32, Window
from jepad.sources.naming import named
from jepad.sources.rates import rates
from jepad.sources.traces import MAX_BYTES

_SAMPLING_S = {"smd": 60.0, "asd": 300.0, "jumpstarter2": 300.0, "jumpstarter3": 300.0}
#: What zipfile, zlib and numpy raise over damaged or strange bytes.
_DAMAGE = (
    OSError, EOFError, ValueError, KeyError, IndexError, TypeError, RuntimeError, MemoryError,
    OverflowError, SyntaxError, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trace:
    """One host's (or device's, or job's) channels over time."""

    source: str  # file name without ending; gym_native, gym_guest
    host: str
    dt_s: float
    values: Floats32  # [T, C], NaN = missing
    held: bool = False  # by its gym's manifest: never trained on

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


def read_all(directory: str, acted: bool = False) -> list[Trace]:
    """Every trace of every file in `directory`; a file of no known format is refused by name.

    Of a gym: the episodes its manifest lists, those with actions only when `acted`.
    """
    episodes = {trace_path(directory, e): e for e in read_manifest(directory)}
    lost = sorted(path for path in episodes if not os.path.exists(path))
    if lost:
        raise SettingError(f"{lost[0]}: listed in the gym's manifest, but not there")
    found: list[Trace] = []
    for path in files(directory):
        episode = episodes.get(path)
        if episode is not None:
            found += [_of_gym(read(path)[0], episode)] if acted or not episode.actions else []
        # A recording that a gym's manifest does not list was not finished.
        elif not episodes or not path.endswith(".csv.gz"):
            found += read(path)
    return found


def _of_gym(trace: Trace, episode: Episode) -> Trace:
    held = episode.split == "held"
    return replace(trace, source=f"gym_{episode.floor}", host=episode.id, held=held)


def read(path: str) -> list[Trace]:
    """The traces of one file, by its shape and not by its name."""
    name = os.path.basename(path).split(".")[0]
    if path.endswith(".csv.gz"):
        return [_recorded(name, *recording.table(path))]
    try:
        _distrust(path)
        with np.load(path, allow_pickle=False) as z:
            found = list(_npz(z, name))
    except _DAMAGE as e:
        raise SettingError(f"{path}: not a telemetry file of a known format ({e})") from e
    for trace in found:
        if not trace.dt_s > 0:
            raise SettingError(f"{path}: {trace.host}: {trace.dt_s} s between samples")
    if not any(np.isfinite(trace.values).any() for trace in found):
        raise SettingError(f"{path}: holds no number; leave it out")
    return found


def digest(path: str) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _distrust(path: str) -> None:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"unpacks to more than {MAX_BYTES >> 20} MiB")


def _npz(z: np.lib.npyio.NpzFile, name: str) -> Iterator[Trace]:
    keys = set(z.files)
    if {"X", "offsets", "host", "dt"} <= keys:
        yield from _stacked(z, name)
    elif {"x", "cols"} <= keys:
        yield _tabled(z, name)
    elif any(k.endswith("|v") for k in keys):
        yield from _timed(z, name)
    else:
        yield from _halves(z, name)


def _stacked(z: np.lib.npyio.NpzFile, name: str) -> Iterator[Trace]:
    """All series one after another."""
    rows, offsets = _table(z["X"]), z["offsets"].astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != len(rows) or (np.diff(offsets) < 0).any():
        raise ValueError("offsets don't fit the rows")
    if len(offsets) != len(z["host"]) + 1:
        raise ValueError("offsets don't fit the hosts")
    for i, (host, dt) in enumerate(zip(z["host"], z["dt"], strict=True)):
        values = rows[offsets[i] : offsets[i + 1]]
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
        parts = [
            _table(z[f"{host}_{half}"]) for half in ("train", "test") if f"{host}_{half}" in z.files
        ]
        values = np.concatenate(parts)
        dt = _SAMPLING_S.get(name, 60.0 if values.shape[1] == 38 else 300.0)
        yield Trace(name, host, dt, values)


def _timed(z: np.lib.npyio.NpzFile, name: str) -> Iterator[Trace]:
    """Single series with their times; the very irregular ones are left out."""
    for key in sorted(k.removesuffix("|v") for k in z.files if k.endswith("|v")):
        values, step = _table(z[f"{key}|v"][:, None]), np.diff(z[f"{key}|t"])
        if len(step) + 1 != len(values):
            raise ValueError(f"{key}: as many times as values are wanted")
        dt = float(np.median(step))
        if dt > 0 and np.mean(np.abs(step - dt) > dt / 2) < 0.05:
            yield Trace(name, key, dt, values)


def _tabled(z: np.lib.npyio.NpzFile, name: str) -> Trace:
    """One table with its columns' names, a `t` among them."""
    columns, table = [str(c) for c in z["cols"]], z["x"].astype(np.float64)
    if table.ndim != 2 or table.shape[1] != len(columns) or "t" not in columns:
        raise ValueError(f"x {table.shape} and {len(columns)} columns, `t` among them, don't fit")
    keep = [i for i, c in enumerate(columns) if not recording.aside(c)]
    time = columns.index("t")
    table[:, time] = _even(table[:, time])
    return _recorded(name, [columns[i] for i in keep], table[:, keep])


def _even(t_s: Floats) -> Floats:
    """Even times where these are even but for rounding to few bits, which makes steps jump."""
    even = np.linspace(t_s[0], t_s[-1], len(t_s))
    if np.abs(t_s - even).max() < even[1] - even[0]:
        return even
    if not (np.diff(t_s) > 0).all():
        raise ValueError(f"row {int(np.argmin(np.diff(t_s) > 0)) + 1}: time does not rise")
    return t_s


def _table(array: NDArray[np.generic]) -> Floats32:
    """Numbers, no infinities."""
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ValueError(f"no table of numbers: {array.dtype} {array.shape}")
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    return np.where(np.isfinite(values), values, np.float32(np.nan))


def _recorded(name: str, columns: list[str], table: Floats) -> Trace:
    """jepad's own recordings: counters become rates per second, as the engine is fed them."""
    t_s = table[:, columns.index("t")]
    keep = [i for i, c in enumerate(columns) if c != "t"]
    series = tuple(named(columns[i]) for i in keep)
    t_ns = np.round((t_s - t_s[0]) * 1e9).astype(np.int64)
    window = Window(series, t_ns, table[:, keep], np.zeros(len(t_ns), np.uint32), len(t_ns) - 1)
    values = _table(rates(window)[2][1:])
    return Trace(name, name, float(np.median(np.diff(t_s))), values)
