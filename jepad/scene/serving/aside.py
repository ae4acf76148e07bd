"""Runs of the model that may wait: beside those of requests, or between them.

Owns: that one such run is under way at a time, first come first served, and never in the way of a
request. Does not know what is run, or for whom.

On the CPU a run has a thread of its own, which the caller may have made nice: a request that comes
meanwhile is computed at once. A GPU runs one thing at a time: there a run waits until no call does.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jepad.errors import EngineError, JepadError, TooLarge
from jepad.scene.backend import Backend
from jepad.scene.serving.host import Host
from jepad.scene.serving.mill import Mill

log = logging.getLogger(__name__)

#: Between looks whether an answer can still come.
LOOK_S = 0.5
Run = Callable[[Backend], Any]


class Aside:
    """For several threads."""

    def __init__(self, host: Host, mill: Mill) -> None:
        self._host, self._mill = host, mill
        self._queue: collections.deque[object] = collections.deque()
        self._turn = threading.Condition()
        self._since = 0.0
        self._closed = False

    def __call__(self, run: Run) -> Any:
        """What `run` makes of the backend; JepadError whatever goes wrong."""
        with self._alone():
            backend = self._host.beside()
            if backend is None:
                return self._between(run)
            try:
                return run(backend)
            except JepadError:
                raise
            except MemoryError as error:
                raise TooLarge("out of memory over a stream that is followed") from error
            except Exception as error:
                log.exception("the model failed")
                raise EngineError(f"the model failed: {error}") from error

    @property
    def busy_ms(self) -> int:
        """How long the present run takes already; 0 = none."""
        since = self._since
        return max(1, round((time.monotonic() - since) * 1000)) if since else 0

    def close(self) -> None:
        """Whoever waits gets an EngineError."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """In the order they came."""
        me = object()
        with self._turn:
            self._queue.append(me)
            self._turn.wait_for(lambda: self._closed or self._queue[0] is me)
        try:
            if self._closed:
                raise EngineError("the scene engine stops")
            self._since = time.monotonic()
            yield
        finally:
            with self._turn:
                self._since = 0.0
                self._queue.remove(me)
                self._turn.notify_all()

    def _between(self, run: Run) -> Any:
        """In the mill's thread, when no call waits there."""
        done, found = threading.Event(), list[Any]()

        def work() -> None:
            try:
                found.append(self._host(run))
            except JepadError as error:
                found.append(error)
            done.set()

        self._mill.spare(work)
        while not done.wait(LOOK_S):
            if self._closed or self._mill.failed:
                raise EngineError("the scene engine computes no more")
        if isinstance(found[0], JepadError):
            raise found[0]
        return found[0]
