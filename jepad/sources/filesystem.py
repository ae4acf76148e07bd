"""How full the local file systems are.

Owns: statvfs of what /proc/self/mountinfo lists. Only kinds that live on this machine's own
storage: asking a network file system may hang for ever. Does not know: who fills them.
"""

from __future__ import annotations

import os
import re

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import KernelFile, whole_lines, word

_LOCAL = frozenset({
    b"ext2", b"ext3", b"ext4", b"xfs", b"btrfs", b"f2fs", b"vfat", b"exfat", b"ntfs3",
    b"bcachefs", b"zfs", b"jfs", b"nilfs2",
})  # fmt: skip
_MOUNTS = 8
_ESCAPE = re.compile(rb"\\([0-7]{3})")


class Filesystem:
    """Share of blocks and of inodes in use, once a device."""

    name = "filesystem"

    def __init__(self, roots: Roots) -> None:
        """Name the mount table."""
        self._mounts = KernelFile(f"{roots.proc}/self/mountinfo")
        self._paths: dict[str, bytes] = {}

    def describe(self) -> tuple[Series, ...]:
        """File systems mounted now."""
        try:
            found = self._mounts.parse(_local)[:_MOUNTS]
        except SourceError:
            found = []
        self._paths = {word(os.fsdecode(path)): path for path in found}
        return tuple(
            Series(f"fs.{name}.{what}", "%", "gauge")
            for name in self._paths
            for what in ("used", "files")
        )

    def read(self) -> dict[str, float]:
        """Use in per cent, as df shows it; file systems without inode tables show 0 files."""
        values: dict[str, float] = {}
        for name, path in self._paths.items():
            try:
                fs = os.statvfs(path)
            except OSError as error:
                raise SourceError(f"{os.fsdecode(path)}: {error.strerror}") from error
            used = fs.f_blocks - fs.f_bfree
            values[f"fs.{name}.used"] = 100.0 * used / max(used + fs.f_bavail, 1)
            values[f"fs.{name}.files"] = 100.0 * (fs.f_files - fs.f_ffree) / max(fs.f_files, 1)
        return values


def _local(data: bytes) -> list[bytes]:
    """Mount points of local kinds, the shortest path of each device."""
    paths: dict[bytes, bytes] = {}
    for line in whole_lines(data).splitlines():
        fields = line.split()
        kind = fields[fields.index(b"-", 6) + 1]
        path = _ESCAPE.sub(lambda m: bytes([int(m[1], 8) & 255]), fields[4])
        device = fields[2]
        if kind in _LOCAL and len(path) < len(paths.get(device, path + b"/")):
            paths[device] = path
    return sorted(paths.values())
