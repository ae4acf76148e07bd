"""What waits to be written to the bus, in order, with the descriptors that travel with it.

Owns: frames not yet sent and their file descriptors. Does not know: what they say.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable

RETRY_S = 0.05


class Outbox:
    """Writes at once while the socket takes it; else waits until it does again.

    A full socket (EAGAIN) is the usual state of a busy bus, not an error.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        lost: Callable[[Exception], None],
    ) -> None:
        self._sock = sock
        self._loop = loop
        self._lost = lost
        self._queue: deque[tuple[memoryview, list[int]]] = deque()
        self._watching = False
        self._closed = False
        self.stalls = 0
        self.waiting_bytes = 0
        self.when_empty: Callable[[], None] | None = None

    def put(self, frame: bytes, fds: list[int]) -> None:
        """Add one message; `fds` are closed here once they are sent."""
        self._queue.append((memoryview(frame), fds))
        self.waiting_bytes += len(frame)
        if len(self._queue) == 1:
            self._flush()

    def close(self) -> None:
        """Forget what could not be sent."""
        self._closed = True
        self._unwatch()
        for _, fds in self._queue:
            _close(fds)
        self._queue.clear()

    def _flush(self) -> None:
        while self._queue:
            frame, fds = self._queue[0]
            try:
                sent = socket.send_fds(self._sock, [frame], fds) if fds else self._sock.send(frame)
            except (BlockingIOError, InterruptedError):
                self._watch()
                return
            except OSError as error:
                self._failed(error)
                return
            self.waiting_bytes -= sent
            _close(fds)
            if sent < len(frame):
                self._queue[0] = (frame[sent:], [])
            else:
                self._queue.popleft()
        self._unwatch()
        if self.when_empty:
            resume, self.when_empty = self.when_empty, None
            resume()

    def _watch(self) -> None:
        self.stalls += 1
        if not self._watching:
            self._watching = True
            self._loop.add_writer(self._sock, self._flush)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_writer(self._sock)

    def _failed(self, error: OSError) -> None:
        if error.errno == errno.ETOOMANYREFS:  # descriptors of ours the bus has yet to take
            self.stalls += 1
            self._unwatch()
            self._loop.call_later(RETRY_S, self._retry)
        else:
            self._lost(error)

    def _retry(self) -> None:
        if not self._closed:
            self._flush()


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
    fds.clear()
