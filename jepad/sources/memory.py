"""How much memory there is, and what holds it.

Owns: /proc/meminfo. Does not know: how fast it goes (vmstat.py) or who took it (processes.py).
"""

from __future__ import annotations

from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import KeyedFile

_KEYS = (
    "MemTotal MemFree MemAvailable Buffers Cached Active Inactive AnonPages Mapped Shmem Slab "
    "SReclaimable SUnreclaim PageTables Committed_AS Dirty Writeback SwapFree Active(anon) "
    "Inactive(anon) Active(file) Inactive(file) KernelStack"
)


class Memory:
    """Levels of the memory of the whole machine, KiB."""

    name = "memory"

    def __init__(self, roots: Roots) -> None:
        """Name the file."""
        self._file = KeyedFile(f"{roots.proc}/meminfo", _KEYS, colon=True)
        self._names: dict[str, str] = {}

    def describe(self) -> tuple[Series, ...]:
        """The fields this kernel has."""
        self._names = {key: f"mem.{key}" for key in self._file.learn()}
        return tuple(Series(name, "KiB", "gauge") for name in self._names.values())

    def read(self) -> dict[str, float]:
        """Levels now."""
        return {self._names[key]: value for key, value in self._file.read().items()}
