"""Work that outlasts a call: who asked for it, how far it is, what came of it.

Owns: the jobs there are, how many there may be and how long each is kept.
Does not know: D-Bus, what is worked on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from jepad.errors import JepadError, NotFound, RateLimited

State = Literal["running", "done", "failed", "cancelled"]
Report = Callable[[float, str], None]  # share done 0..1, and in words
Work = Callable[[Report], Awaitable[Mapping[str, object]]]

log = logging.getLogger(__name__)

MAX_RUNNING, MAX_RUNNING_OF_ONE = 4, 2
MAX_KEPT_OF_ONE = 8  # ended ones, the oldest goes first
KEPT_S = 60.0
LONGEST_S = 600.0


@dataclass(frozen=True, slots=True)
class Owner:
    """Who asked: the user, and the connection whose end ends the job."""

    uid: int
    sender: str


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work as it is now; `id` is never used twice by one daemon."""

    id: int
    owner: Owner
    state: State = "running"
    percent: int = 0
    words: str = ""
    result: Mapping[str, object] | None = None  # of a job that is done
    error: Exception | None = None  # of a job that failed


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told, each time with the job as it then is."""

    began: Callable[[Job], None]
    changed: Callable[[Job], None]
    gone: Callable[[Job], None]


class Jobs:
    """Start, watch, cancel. A job is forgotten a while after its end, or when its owner leaves."""

    def __init__(self, kept_s: float = KEPT_S, longest_s: float = LONGEST_S) -> None:
        self._kept_s, self._longest_s = kept_s, longest_s
        self._next = 1
        self._jobs: dict[int, Job] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Hear of every job from now on."""
        self._listeners.append(listener)

    def room(self, uid: int) -> None:
        """RateLimited when one more job would be too many."""
        running = [j.owner.uid for j in self._jobs.values() if j.state == "running"]
        if len(running) >= MAX_RUNNING or running.count(uid) >= MAX_RUNNING_OF_ONE:
            raise RateLimited("too many jobs run: cancel one, or wait. retry-after: 1.00 s")

    def start(self, owner: Owner, work: Work) -> Job:
        """Begin; its first step is taken after this returned. RateLimited as in `room`."""
        self.room(owner.uid)
        self._forget_oldest(owner.uid)
        job = Job(self._next, owner)
        self._next += 1
        self._jobs[job.id] = job
        self._tell("began", job)
        task = asyncio.ensure_future(self._run(job.id, work))
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.id, None))
        return job

    def get(self, number: int) -> Job:
        """The job as it is now; NotFound when it is gone."""
        job = self._jobs.get(number)
        if job is None:
            raise NotFound(f"no job {number}: it ended over {self._kept_s:g} s ago, or never was")
        return job

    def held_by(self, sender: str) -> bool:
        """Whether a connection has any job, running or ended."""
        return any(job.owner.sender == sender for job in self._jobs.values())

    def cancel(self, number: int) -> None:
        """Stop it; nothing happens to one that has ended."""
        if self.get(number).state == "running":
            self._end(number, "cancelled")
            self._stop(number)

    def leave(self, sender: str) -> None:
        """Its connection is gone: so are its jobs."""
        for job in [j for j in self._jobs.values() if j.owner.sender == sender]:
            self._forget(job.id)

    def close(self) -> None:
        """Stop and forget all."""
        for number in list(self._jobs):
            self._forget(number)

    async def _run(self, number: int, work: Work) -> None:
        try:
            async with asyncio.timeout(self._longest_s) as limit:
                result = await work(lambda share, words: self._report(number, share, words))
        except JepadError as error:
            self._end(number, "failed", error=error)
        except Exception as error:
            late = JepadError(f"stopped: it took more than {self._longest_s:g} s")
            if not limit.expired():
                log.exception("job %d failed", number)
            self._end(number, "failed", error=late if limit.expired() else error)
        else:
            self._end(number, "done", result=result)

    def _report(self, number: int, share: float, words: str) -> None:
        job = self._jobs.get(number)
        percent = min(max(round(100 * share), 0), 99)
        if job and job.state == "running" and (percent, words) != (job.percent, job.words):
            self._change(replace(job, percent=percent, words=words))

    def _end(
        self,
        number: int,
        state: State,
        result: Mapping[str, object] | None = None,
        error: Exception | None = None,
    ) -> None:
        job = self._jobs.get(number)
        if job is None or job.state != "running":
            return  # cancelled, or its owner left meanwhile
        loop = asyncio.get_running_loop()
        self._timers[number] = loop.call_later(self._kept_s, self._forget, number)
        percent = 100 if state == "done" else job.percent
        self._change(replace(job, state=state, percent=percent, result=result, error=error))

    def _change(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._tell("changed", job)

    def _stop(self, number: int) -> None:
        task = self._tasks.get(number)
        if task:
            task.cancel()

    def _forget(self, number: int) -> None:
        job = self._jobs.pop(number, None)
        if timer := self._timers.pop(number, None):
            timer.cancel()
        self._stop(number)
        if job:
            self._tell("gone", job)

    def _forget_oldest(self, uid: int) -> None:
        ended = [j.id for j in self._jobs.values() if j.owner.uid == uid and j.state != "running"]
        for number in ended[: max(0, len(ended) + 1 - MAX_KEPT_OF_ONE)]:
            self._forget(number)

    def _tell(self, what: Literal["began", "changed", "gone"], job: Job) -> None:
        for listener in self._listeners:
            getattr(listener, what)(job)
