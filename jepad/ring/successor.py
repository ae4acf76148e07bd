"""A stream's next object, made while the old one still stands.

Owns: the order in which one object takes another's name, so that a lack of memory is known while
there is still a way back. Does not know: why the layout changed, or what is carried over.
"""

from __future__ import annotations

import contextlib
import os

from jepad.errors import RingError
from jepad.ring.layout import Layout, object_path
from jepad.ring.writer import Writer


class Successor:
    """Fill `writer`, then `replace` the old one."""

    def __init__(
        self, prefix: str, layout: Layout, mode: int = 0o640, group: str | None = None
    ) -> None:
        """RingError when there is no room for a second object; the old one is not touched."""
        self._prefix, self._layout = prefix, layout
        self._access = (mode, group)
        self._aside = f"{prefix}-next"
        self._path = object_path(self._aside, layout.stream)
        # What a killed process left would be taken over, records and all; another user's file
        # stays, and the writer says whose it is.
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        self.writer = Writer.create(self._aside, layout, mode, group)

    def replace(self, old: Writer) -> Writer:
        """The new object's writer, under the stream's name; readers of the old see "retired"."""
        self.writer.close()
        old.retire()
        path = object_path(self._prefix, self._layout.stream)
        try:
            os.rename(self._path, path)
            os.unlink(f"{self._path}.lock")
        except OSError as error:
            raise RingError(f"{path}: can't take its place: {error.strerror}") from error
        # Same layout, same name: what was written is taken over.
        return Writer.create(self._prefix, self._layout, *self._access)
