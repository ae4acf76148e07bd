"""How many files are open on the whole machine.

Owns: /proc/sys/fs/file-nr. Does not know: who opened them.
"""

from __future__ import annotations

from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import KernelFile, answers, numbers


class Files:
    """Allocated file handles: the first number of the file."""

    name = "files"

    def __init__(self, roots: Roots) -> None:
        """Name the file."""
        self._file = KernelFile(f"{roots.proc}/sys/fs/file-nr")

    def describe(self) -> tuple[Series, ...]:
        """Absent where /proc/sys is masked."""
        return (Series("fd", "", "gauge"),) if answers(self.read) else ()

    def read(self) -> dict[str, float]:
        """Handles now."""
        return {"fd": self._file.parse(_allocated)}


def _allocated(data: bytes) -> float:
    allocated, _, _ = numbers(data.split())
    return allocated
