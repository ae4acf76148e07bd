"""Plans under way: each runs an iteration between two batches.

Owns: their number, progress, cancelling, how long a result is kept. Does not know: how a plan is
found. Started and run in one thread, looked at from any.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from jepad.errors import EngineError, JepadError, NotFound
from jepad.scene import wire
from jepad.scene.serving.batch import Host, Steps, answered
from jepad.scene.serving.plan import Report

log = logging.getLogger(__name__)

#: Plans that are not finished, at most.
MAX_JOBS = 8
#: Nobody asked for so long: an unfinished one is cancelled, a finished one forgotten.
PATIENCE_S = 60.0
Begin = Callable[[Report], Steps]
Ended = Literal["done", "failed", "cancelled"]
_ENDED = ("done", "failed", "cancelled")


@dataclass(slots=True)
class _Job:
    id: str
    total: int
    asked: float
    steps: Steps | None = None
    sent: object = None
    cancelled: bool = False
    said: wire.JobState = field(init=False)

    def __post_init__(self) -> None:
        self.said = wire.JobState(0, self.id, "waiting", 0, self.total)


class Jobs:
    """In the order they came; each in turn."""

    def __init__(self, host: Host, clock: Callable[[], float] = time.monotonic) -> None:
        self._host, self._clock = host, clock
        self._jobs: dict[str, _Job] = {}
        self._turn: list[_Job] = []
        self._lock = threading.Lock()

    @property
    def active(self) -> int:
        """How many are not finished."""
        return len(self._turn)

    def start(self, total: int, begin: Begin) -> str:
        """Its id. EngineError: too many under way."""
        self.tidy()
        if len(self._turn) >= MAX_JOBS:
            raise EngineError(f"{MAX_JOBS} plans are under way already: try again later")
        job = _Job(secrets.token_hex(8), total, self._clock())
        job.steps = begin(lambda done, lowest: self._progress(job, done, lowest))
        with self._lock:
            self._jobs[job.id] = job
        self._turn.append(job)
        return job.id

    def status(self, job: str, number: int) -> wire.JobState:
        """As the reply to request `number`. NotFound: no such plan any more."""
        found = self._found(job)
        found.asked = self._clock()
        said = found.said
        return wire.JobState(
            number, job, said.state, said.done, said.total, said.energies, said.result, said.error
        )

    def cancel(self, job: str, number: int) -> wire.JobState:
        """It stops after the present iteration; one that ended stays as it is."""
        self._found(job).cancelled = True
        return self.status(job, number)

    def step(self) -> None:
        """One need of the plan whose turn it is."""
        if not self._turn:
            return
        job = self._turn.pop(0)
        if job.cancelled:
            self._close(job, "cancelled")
            return
        assert job.steps is not None
        if job.said.state == "waiting":
            job.said = wire.JobState(0, job.id, "running", 0, job.total)
        try:
            need = job.steps.send(job.sent) if job.sent is not None else next(job.steps)
            job.sent = self._host(lambda backend: answered(backend, [need])[0])
        except StopIteration as end:
            self._close(job, "done", result=end.value)
        except JepadError as error:
            self._close(job, "failed", error=(error.bus_name, str(error)))
        except Exception as error:
            log.exception("a plan failed")
            self._close(job, "failed", error=(EngineError.bus_name, f"the plan failed: {error}"))
        else:
            self._turn.append(job)

    def tidy(self) -> None:
        """Cancel and forget what nobody asks about."""
        limit = self._clock() - PATIENCE_S
        with self._lock:
            for job in [j for j in self._jobs.values() if j.asked < limit]:
                if job.said.state in _ENDED:
                    del self._jobs[job.id]
                else:
                    job.cancelled = True

    def _found(self, job: str) -> _Job:
        with self._lock:
            found = self._jobs.get(job)
        if found is None:
            raise NotFound(f"no plan {job}: it ended over {PATIENCE_S:g} s ago, or never began")
        return found

    def _progress(self, job: _Job, done: int, lowest: float) -> None:
        energies = (*job.said.energies, lowest)
        job.said = wire.JobState(0, job.id, "running", done, job.total, energies)

    def _close(
        self,
        job: _Job,
        state: Ended,
        result: wire.Planned | None = None,
        error: tuple[str, str] = ("", ""),
    ) -> None:
        if job.steps is not None:
            job.steps.close()
        job.steps = job.sent = None  # arrays on a device go with them
        said = job.said
        job.asked = self._clock()
        job.said = wire.JobState(
            0,
            job.id,
            state,
            said.done,
            job.total,
            said.energies,
            result,
            error,
        )
