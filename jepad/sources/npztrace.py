"""Traces as npz archives of plain arrays, in the layouts public data sets are kept in here.

Owns: the four layouts and the distrust of archives: no pickle, no array that claims more than
its bytes, no archive beyond the limit. Does not know: CSV.

    X, offsets, series, host, dt, cols, units  many series one after another (t, label optional)
    x, cols                                    one table, with its columns' names and a `t`
    <name>|v, <name>|t, <name>|label           one channel each
    <host>_train, <host>_test, <host>_label    tables without names or times
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from jepad.errors import SettingError
from jepad.records import Floats, Series
from jepad.sources.naming import named
from jepad.sources.traces import MAX_BYTES, Trace, later, median_step

#: A trace's name and how to cut it out, so that listing a file reads no table.
Cut = tuple[str, Callable[[], Trace]]

#: What zipfile, zlib and numpy raise over damaged or hostile bytes (RuntimeError: encrypted).
_DAMAGE = (
    OSError, EOFError, ValueError, KeyError, IndexError, TypeError, RuntimeError, MemoryError,
    struct.error, zlib.error, zipfile.BadZipFile, SyntaxError, OverflowError,
)  # fmt: skip
#: Seconds a step, by how the hosts of a data set are called: these archives don't say.
_STEPS = {"machine-": 60.0, "omi-": 300.0, "s": 300.0}


def npz_traces(path: str) -> list[Cut]:
    """Names of the traces in an archive, each with a function that reads it."""
    try:
        _distrust(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = _Lazy(path, archive.files)
            cuts = list(_layout(arrays)(arrays))
    except _DAMAGE as error:
        raise SettingError(f"{path}: not a trace archive: {error}") from error
    if not cuts:
        raise SettingError(f"{path}: holds no trace")
    return [(name, _careful(path, name, cut)) for name, cut in cuts]


def _careful(path: str, name: str, cut: Callable[[], Trace]) -> Callable[[], Trace]:
    def read() -> Trace:
        try:
            return cut()
        except _DAMAGE as error:
            raise SettingError(f"{path}: trace {name!r}: {error}") from error

    return read


def _distrust(path: str) -> None:
    """Refuse what would unpack without bound, before anything is unpacked."""
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
        if sum(member.file_size for member in members) > MAX_BYTES:
            raise ValueError(f"unpacks to more than {MAX_BYTES >> 20} MiB")
        for member in members:
            with file.open(member) as opened:
                if _claimed(opened) > member.file_size:
                    raise ValueError(f"array {member.filename!r} claims more than it holds")


def _claimed(opened: IO[bytes]) -> int:
    version = npy.read_magic(opened)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
    shape, _, dtype = read(opened)
    return math.prod(shape) * dtype.itemsize


class _Lazy(dict[str, NDArray[Any]]):
    """Arrays of an archive, each read when first asked for."""

    def __init__(self, path: str, files: list[str]) -> None:
        super().__init__()
        self.path = path
        self.files = files

    def __contains__(self, name: object) -> bool:
        return name in self.files

    def optional(self, name: str) -> NDArray[Any] | None:
        """The array, or None where the archive has none."""
        return self[name] if name in self.files else None

    def __missing__(self, name: str) -> NDArray[Any]:
        if name not in self.files:
            raise KeyError(f"has no array {name!r}")
        with np.load(self.path, allow_pickle=False) as archive:
            array: NDArray[Any] = archive[name]
        self[name] = array
        return array


def _layout(arrays: _Lazy) -> Callable[[_Lazy], Iterator[Cut]]:
    if "X" in arrays and "offsets" in arrays:
        return _packed
    if "x" in arrays and "cols" in arrays:
        return _table
    if any(name.endswith("|v") for name in arrays.files):
        return _channels
    if any(name.endswith(("_train", "_test")) for name in arrays.files):
        return _halves
    raise ValueError(f"no known layout; its arrays are {', '.join(arrays.files[:5])}")


def _packed(arrays: _Lazy) -> Iterator[Cut]:
    offsets = arrays["offsets"].astype(np.int64)
    names = [str(name) for name in arrays["series"]]
    names = [f"{n}#{i}" if n in names[:i] else n for i, n in enumerate(names)]
    if len(offsets) != len(names) + 1 or (np.diff(offsets) < 0).any() or offsets[0] != 0:
        raise ValueError("offsets don't fit the series")
    for i, name in enumerate(names):
        part = slice(int(offsets[i]), int(offsets[i + 1]))
        if part.stop > part.start:
            yield name, partial(_packed_trace, arrays, (i, name), part)


def _packed_trace(arrays: _Lazy, which: tuple[int, str], part: slice) -> Trace:
    i, name = which
    values = _matrix(arrays["X"][part])
    if len(values) != part.stop - part.start:
        raise ValueError("offsets reach beyond X")
    series = [
        Series(channel, str(unit), "gauge")
        for channel, unit in zip(_unique(arrays), arrays["units"], strict=True)
    ]
    # Sources of one set differ in what they measure: a channel this one never had is left out.
    seen = np.flatnonzero(np.isfinite(values).any(axis=0))
    times, marks = arrays.optional("t"), arrays.optional("label")
    return _trace(
        (tuple(series[c] for c in seen), values[:, seen]),
        float(arrays["dt"][i]) if times is None else times[part].astype(np.float64),
        (name, str(arrays["host"][i])),
        None if marks is None else marks[part],
    )


def _unique(arrays: _Lazy) -> list[str]:
    """Column names; one that is there twice gets its unit behind it."""
    names = [str(name) for name in arrays["cols"]]
    return [
        f"{name}_{unit}" if names.count(name) > 1 else name
        for name, unit in zip(names, arrays["units"], strict=True)
    ]


def _table(arrays: _Lazy) -> Iterator[Cut]:
    columns = [str(name) for name in arrays["cols"]]
    keep = [i for i, name in enumerate(columns) if name not in {"t", "label"}]

    def cut() -> Trace:
        table = _matrix(arrays["x"])
        series = tuple(named(columns[i]) for i in keep)
        t_s = _grid(table[:, columns.index("t")])
        return _trace((series, table[:, keep]), t_s, ("x", "x"), None)

    yield "x", cut


def _grid(t_s: Floats) -> Floats:
    """Even times where these are even but for rounding to few bits, which makes steps jump."""
    even = np.linspace(t_s[0], t_s[-1], len(t_s))
    step = (t_s[-1] - t_s[0]) / max(len(t_s) - 1, 1)
    return even if np.abs(t_s - even).max() < step else t_s


def _channels(arrays: _Lazy) -> Iterator[Cut]:
    for file in arrays.files:
        name = file.removesuffix("|v")
        if name != file:
            yield name, partial(_channel, arrays, name)


def _channel(arrays: _Lazy, name: str) -> Trace:
    return _trace(
        ((Series("value", "", "gauge"),), _matrix(arrays[f"{name}|v"][:, None])),
        arrays[f"{name}|t"].astype(np.float64),
        (name, name),
        arrays.optional(f"{name}|label"),
    )


def _halves(arrays: _Lazy) -> Iterator[Cut]:
    for file in arrays.files:
        if file.rpartition("_")[2] in {"train", "test"}:
            yield file, partial(_half, arrays, file)


def _half(arrays: _Lazy, file: str) -> Trace:
    host, _, half = file.rpartition("_")
    values = _matrix(arrays[file])
    series = tuple(Series(f"c{i:02d}", "", "gauge") for i in range(values.shape[1]))
    marks = [name for name in (f"{host}_label", f"{host}_test_label") if name in arrays]
    label = arrays[marks[0]] if half == "test" and marks else None
    step = next((dt for start, dt in _STEPS.items() if host.startswith(start)), None)
    if step is None:
        raise ValueError("no step is known for hosts called so")
    return _trace((series, values), step, (file, host), label)


def _matrix(array: NDArray[Any]) -> Floats:
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ValueError(f"not a table of numbers: {array.dtype} {array.shape}")
    table: Floats = array.astype(np.float64)
    table[np.isinf(table)] = np.nan
    return table


def _trace(
    channels: tuple[tuple[Series, ...], Floats],
    time: Floats | float,
    names: tuple[str, str],
    label: NDArray[Any] | None,
) -> Trace:
    series, values = channels
    even = np.arange(len(values)) * time if isinstance(time, float) else time
    t_s = np.asarray(even, dtype=np.float64)
    marks = None if label is None else (label > 0).astype(np.uint8)
    if len(t_s) != len(values) or (marks is not None and len(marks) != len(values)):
        raise ValueError("times or labels don't fit the rows")
    if not len(values) or values.shape[1] != len(series):
        raise ValueError("no rows, or columns without a name")
    keep = later(t_s)
    return Trace(
        series=series,
        t_s=t_s[keep],
        values=values[keep],
        dt_s=median_step(t_s[keep]),
        name=names[0],
        host=names[1],
        label=None if marks is None else marks[keep],
    )
