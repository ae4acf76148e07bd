"""Pressure stall information: the share of time tasks waited for cpu, memory or io.

Owns: /proc/pressure. Does not know: what pressure is too much.
"""

from __future__ import annotations

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import KernelFile, numbers, whole_lines

_RESOURCES = ("cpu", "memory", "io")
_FIELDS = ("some.total", "some.avg10", "full.total", "full.avg10")


class Psi:
    """System-wide pressure; `cpu.full` is missing on kernels before 5.13."""

    name = "psi"

    def __init__(self, roots: Roots) -> None:
        """Name the three files."""
        self._files = {r: KernelFile(f"{roots.proc}/pressure/{r}") for r in _RESOURCES}
        self._keys: dict[str, tuple[str, ...]] = {}

    def describe(self) -> tuple[Series, ...]:
        """Absent where the kernel was built or booted without PSI."""
        self._keys = {}
        for resource, file in self._files.items():
            try:
                count = len(file.parse(_pressure))
            except SourceError:
                continue
            self._keys[resource] = tuple(f"psi.{resource}.{field}" for field in _FIELDS[:count])
        return tuple(
            Series(key, "us", "counter") if key.endswith("total") else Series(key, "%", "gauge")
            for keys in self._keys.values()
            for key in keys
        )

    def read(self) -> dict[str, float]:
        """Totals in µs since boot and the kernel's own 10 s averages."""
        values: dict[str, float] = {}
        for resource, keys in self._keys.items():
            file = self._files[resource]
            got = file.parse(_pressure)
            if len(got) != len(keys):
                raise SourceError(f"{file.path}: has {len(got)} fields, had {len(keys)}")
            values.update(zip(keys, got, strict=True))
        return values


def _pressure(data: bytes) -> list[float]:
    """The four numbers out of `some avg10=0.00 avg60=… avg300=… total=0`, and the same for full."""
    parts = whole_lines(data).split()
    picked = [parts[4], parts[1]] if len(parts) == 5 else [parts[i] for i in (4, 1, 9, 6)]
    marks = [part[:6] for part in picked]
    if parts[0] != b"some" or marks != [b"total=", b"avg10="] * (len(picked) // 2):
        raise ValueError("not a pressure line")
    return numbers(part[6:] for part in picked)
