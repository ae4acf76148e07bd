"""Files that outlive the engine: whole, private, and read with suspicion.

Owns: where they are, how they are written and checked. Does not know: what is in them.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
import zlib

log = logging.getLogger(__name__)

#: First line of a file; a file of another version is another program's.
_HEAD = b"jepad state 1 %08x\n"
_HEAD_BYTES = len(_HEAD % 0)
#: A disk that hangs must not hold up the end.
_PATIENCE_S = 3.0


class Refused(ValueError):
    """A file that is not to be used, and why."""


class Keep:
    """Named payloads in one directory; "" keeps nothing."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._writing: dict[str, threading.Thread] = {}
        self._failed: int | None = None  # told already

    def load(self, name: str, most: int) -> bytes | None:
        """What was saved; None when nothing was. Refused says why it can't be used."""
        if not self._directory:
            return None
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            fd = os.open(self.path(name), flags)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Refused(error.strerror) from error
        try:
            _examine(os.fstat(fd), most)
            with open(fd, "rb", closefd=False) as file:
                return _opened(file.read(most + _HEAD_BYTES))
        finally:
            os.close(fd)

    def save(self, name: str, payload: bytes) -> None:
        """Beside the caller's work: a disk may take its time. Skipped while the last one does."""
        before = self._writing.get(name)
        if not self._directory or (before and before.is_alive()):
            return
        writing = threading.Thread(
            target=self._write, args=(name, payload), name="keep", daemon=True
        )
        self._writing[name] = writing
        writing.start()

    def close(self) -> None:
        """Wait, not for long, for what is being written."""
        end = time.monotonic() + _PATIENCE_S
        for writing in self._writing.values():
            writing.join(max(end - time.monotonic(), 0))

    def path(self, name: str) -> str:
        """Where it is."""
        return f"{self._directory}/{name}"

    def _write(self, name: str, payload: bytes) -> None:
        path = self.path(name)
        fresh = f"{path}.new"
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            if os.path.lexists(fresh):
                os.unlink(fresh)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(fresh, flags, 0o600), "wb") as file:
                file.write(_HEAD % zlib.crc32(payload))
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            os.rename(fresh, path)
        except OSError as error:
            if error.errno != self._failed:
                log.warning("%s can't be written, what is learned may be lost: %s", path, error)
            self._failed = error.errno
        else:
            self._failed = None


def _examine(found: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise Refused("it is not a file of ours")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Refused("others may write it")
    if found.st_size > most + _HEAD_BYTES:
        raise Refused(f"{found.st_size} bytes are more than it can have")


def _opened(raw: bytes) -> bytes:
    head, payload = raw[:_HEAD_BYTES], raw[_HEAD_BYTES:]
    if not head.startswith(_HEAD.split(b" %")[0]):
        raise Refused("it is of another kind or version")
    if head != _HEAD % zlib.crc32(payload):
        raise Refused("its checksum is wrong")
    return payload
