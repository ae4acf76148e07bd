"""Stays on a stream while its writers come and go.

Owns: when to open a stream and when to open it anew. Does not know what is in it.
"""

from __future__ import annotations

from jepad.errors import NotFound, RingError
from jepad.ring.stream import Stream


class Follower:
    """The stream of this name that is in force now."""

    def __init__(self, prefix: str, name: str) -> None:
        self._prefix, self._name = prefix, name
        self._stream: Stream | None = None
        self.reason = ""  # why there is none

    def stream(self) -> Stream | None:
        """None while there is none that can be trusted; a dead writer's stays open."""
        current = self._stream
        if current is None or current.state != "live":
            self._look(current)
        return self._stream

    def _look(self, current: Stream | None) -> None:
        """Take what has this name now, unless it is what we have."""
        if current is not None and current.state == "retired":
            self.close()
            current = None
        try:
            found = Stream(self._prefix, self._name)
        except (NotFound, RingError) as error:
            self.reason = str(error)
            return
        if current is not None and found.header.generation == current.header.generation:
            found.close()
            return
        self.close()
        self._stream, self.reason = found, ""

    def close(self) -> None:
        """Unmap it."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
