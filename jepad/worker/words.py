"""What a worker says on its standard error: passed on to ours, the last line kept.

Owns: the pipe between, how long a line may be, which characters of it may be shown.
Does not know what ended the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re

from jepad import journal

#: Of a line, in bytes: what is longer says no more.
MOST = 500
#: Bytes, and how often at the end: a pipe holds less.
_AT_ONCE, _TIMES = 1 << 16, 32
_NAME = re.compile(r"^jepad-[a-z]+: ")


class LastLine:
    """Of a stream of bytes: its last line that isn't blank."""

    def __init__(self) -> None:
        self._line = self._begun = b""

    def heard(self, data: bytes) -> None:
        """What came next."""
        for part in data.splitlines(keepends=True):
            self._begun = (self._begun + part)[:MOST]
            if part.endswith((b"\n", b"\r")):
                self._line = self._begun if self._begun.strip() else self._line
                self._begun = b""

    @property
    def text(self) -> str:
        """Without its speaker's name; nothing in it moves a cursor or turns a line round."""
        line = self._begun if self._begun.strip() else self._line
        shown = (c if c.isprintable() else " " for c in line.decode("utf-8", "replace"))
        return _NAME.sub("", "".join(shown).strip())


class Words:
    """A pipe whose end `into` becomes a child's standard error; made and closed in a running loop.
    Where ours is the journal the child is told that this one is, too: its records go there with
    their fields."""

    def __init__(self) -> None:
        self._last = LastLine()
        self._out, self.into = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._out, False)
        asyncio.get_running_loop().add_reader(self._out, self._read)

    def environment(self) -> dict[str, str]:
        """What the child needs to know of it."""
        if not journal.stderr_is_journal():
            return {}
        pipe = os.fstat(self.into)
        return {"JOURNAL_STREAM": f"{pipe.st_dev}:{pipe.st_ino}"}

    def begun(self) -> None:
        """The child has its end, so that ours is closed."""
        if self.into >= 0:
            os.close(self.into)
            self.into = -1

    def close(self) -> str:
        """The last line; whoever else holds the pipe is not waited for."""
        self.begun()
        for _ in range(_TIMES):
            if self._out < 0 or not self._read():
                break
        if self._out >= 0:
            self._shut()
        return self._last.text

    def _read(self) -> bool:
        """Whether there was anything."""
        try:
            data = os.read(self._out, _AT_ONCE)
        except BlockingIOError:
            return False
        if not data:
            self._shut()
            return False
        self._last.heard(data)
        with contextlib.suppress(OSError):  # nobody is left to tell
            os.write(2, data)
        return True

    def _shut(self) -> None:
        asyncio.get_running_loop().remove_reader(self._out)
        os.close(self._out)
        self._out = -1
