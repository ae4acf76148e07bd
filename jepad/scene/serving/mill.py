"""The thread that computes, so that the one at the socket always answers.

Owns: the order of batches and plans, what waits to be taken and to be answered.
Does not know: sockets, what is computed.
"""

from __future__ import annotations

import collections
import logging
import os
import threading
import time
from collections.abc import Callable

from jepad.errors import EngineError
from jepad.scene.serving.batch import MAX_HELD, MAX_QUEUE, Batch, Call
from jepad.scene.serving.job import Jobs

log = logging.getLogger(__name__)

#: Sleeps at most so long: what nobody asks for is forgotten meanwhile.
IDLE_S = 1.0
Work = Call | Callable[[], None]


class Mill:
    """start(), put() and told() from one thread; all computing in another."""

    def __init__(self, batch: Batch, jobs: Jobs) -> None:
        self._batch, self._jobs = batch, jobs
        self._come: collections.deque[tuple[Work, int]] = collections.deque()
        self._spare: collections.deque[Callable[[], None]] = collections.deque()
        self._gone: collections.deque[Callable[[], None]] = collections.deque()
        self._news = threading.Condition()
        self._held = 0
        self._stopping = False
        self._since = 0.0
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.failed = False  # the thread ended though nobody stopped it
        self._thread = threading.Thread(target=self._run, name="scene mill", daemon=True)

    @property
    def busy_ms(self) -> int:
        """How long the present run takes already; 0 = none."""
        since = self._since
        return max(1, round((time.monotonic() - since) * 1000)) if since else 0

    @property
    def waiting(self) -> int:
        """Calls and plans."""
        return len(self._come) + len(self._batch) + self._jobs.active

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, work: Work, held: int = 0) -> None:
        """To be computed; it keeps `held` bytes until then. EngineError: too much to do."""
        with self._news:
            if len(self._come) >= MAX_QUEUE or self._held + held > MAX_HELD:
                raise EngineError(f"{len(self._come)} calls are waiting already: try again later")
            self._come.append((work, held))
            self._held += held
            self._news.notify()

    def spare(self, work: Callable[[], None]) -> None:
        """To be computed when no call waits; it must not raise. EngineError: too late."""
        with self._news:
            if self._stopping or self.failed:
                raise EngineError("the scene engine computes no more")
            self._spare.append(work)
            self._news.notify()

    def tell(self, answer: Callable[[], None]) -> None:
        """To be run by whoever calls `told`, once `wake` can be read."""
        self._gone.append(answer)
        os.eventfd_write(self.wake, 1)

    def told(self) -> None:
        """Run what was told since."""
        try:
            os.eventfd_read(self.wake)
        except BlockingIOError:
            return
        while self._gone:
            self._gone.popleft()()

    def stop(self, patience_s: float = 2.0) -> None:
        """After the present run, if that ends in time."""
        with self._news:
            self._stopping = True
            self._news.notify()
        if self._thread.is_alive():
            self._thread.join(patience_s)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except BaseException:
            log.exception("computing ended")
            self.failed = True
            os.eventfd_write(self.wake, 1)

    def _turn(self) -> None:
        """Take what came, run a batch if it is due, and an iteration of a plan."""
        self._wait()
        self._since = time.monotonic()
        while self._come:
            with self._news:
                work, held = self._come.popleft()
                self._held -= held
            if isinstance(work, Call):
                self._batch.add(work)
            else:
                work()
        due = self._batch.wait_ns()
        # Nobody waits for company and then for a plan's next part, too.
        if due == 0 or (due is not None and self._jobs.active):
            self._batch.run()
        self._jobs.step()
        self._jobs.tidy()
        if self._spare and not self._come and not len(self._batch):
            self._spare.popleft()()
        self._since = 0.0

    def _wait(self) -> None:
        with self._news:
            if self._come or self._stopping or self._jobs.active:
                return
            if self._spare and not len(self._batch):
                return
            due = self._batch.wait_ns()
            self._news.wait(IDLE_S if due is None else due / 1e9)
