"""How busy the disks are.

Owns: /proc/diskstats. Does not know: file systems (filesystem.py) or who reads and writes.
"""

from __future__ import annotations

import os
import re

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import KernelFile, names_in, number, numbers, whole_lines

#: In the kernel's order: reads, merged, sectors, ms; the same for writes; then the queue.
_FIELDS = {
    "rd": "event",
    "rdm": "event",
    "rds": "sector",
    "rdt": "ms",
    "wr": "event",
    "wrm": "event",
    "wrs": "sector",
    "wrt": "ms",
    "infl": "",
    "iot": "ms",
    "wiot": "ms",
}
_DISKS = 8
#: Not disks of their own: what they do is seen on the disks below them, or is memory.
_SKIP = re.compile(r"(loop|ram|sr|fd|dm-)\d+")
_PARTITION = re.compile(r"(?:[shv]d[a-z]+|xvd[a-z]+)\d+|(?:nvme\d+n\d+|mmcblk\d+)p\d+")


class Disk:
    """Counters of the first whole disks; partitions, loops and RAM disks are left out."""

    name = "disk"

    def __init__(self, roots: Roots) -> None:
        """Name the file."""
        self._file = KernelFile(f"{roots.proc}/diskstats")
        self._block = f"{roots.sys}/block"
        self._disks: list[tuple[bytes, tuple[str, ...]]] = []

    def describe(self) -> tuple[Series, ...]:
        """Disks plugged in now; absent in a machine without any."""
        try:
            names = [n for n in self._file.parse(_names) if self._is_disk(n)][:_DISKS]
        except SourceError:
            names = []
        self._disks = [
            (f" {name} ".encode(), tuple(f"disk.{name}.{field}" for field in _FIELDS))
            for name in names
        ]
        return tuple(
            Series(f"disk.{name}.{field}", unit, "counter" if unit else "gauge")
            for name in names
            for field, unit in _FIELDS.items()
        )

    def _is_disk(self, name: str) -> bool:
        if _SKIP.fullmatch(name):
            return False
        if not os.path.isdir(self._block):
            return not _PARTITION.fullmatch(name)
        if name not in names_in(self._block):
            return False
        try:
            return KernelFile(f"{self._block}/{name}/size").parse(number) > 0
        except SourceError:
            return True

    def read(self) -> dict[str, float]:
        """Counters since boot; a disk pulled out since describe() is left out."""
        return self._file.parse(self._parse)

    def _parse(self, data: bytes) -> dict[str, float]:
        whole_lines(data)
        values: dict[str, float] = {}
        for needle, names in self._disks:
            at = data.find(needle)
            if at >= 0:
                fields = data[at : data.index(b"\n", at)].split()
                values.update(zip(names, numbers(fields[1:12]), strict=True))
        if not values and self._disks:
            raise ValueError("no line of any disk known")
        return values


def _names(data: bytes) -> list[str]:
    return [line.split()[2].decode("ascii") for line in whole_lines(data).splitlines()]
