"""Answers what is asked of the scene engine.

Owns: which request gets which answer, and the errors in between. Does not know sockets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from jepad.errors import EngineError, JepadError, Late
from jepad.scene import wire
from jepad.scene.serving.batch import Call, Steps
from jepad.scene.serving.host import Host
from jepad.scene.serving.job import Jobs
from jepad.scene.serving.mill import Mill
from jepad.scene.serving.plan import planned, quest
from jepad.scene.serving.work import Result, Work
from jepad.worker.door import Answer, Asked

log = logging.getLogger(__name__)

Parts = Sequence[bytes]


class Desk:
    """What needs the model goes to the mill; the rest is answered at once, by `status`."""

    def __init__(
        self,
        work: Work,
        mill: Mill,
        host: Host,
        jobs: Jobs,
        status: Callable[[wire.Request], wire.Reply],
    ) -> None:
        self._work, self._mill, self._host, self._jobs = work, mill, host, jobs
        self._status = status
        host.moved = work.cache.clear  # an answer says on which device it was computed

    def take(self, asked: Asked[wire.Request]) -> None:
        """Answers now or later, once, whatever happens."""
        request, parts, answer = asked
        try:
            if time.monotonic_ns() > request.deadline_ns:
                raise Late("the request came after its own deadline")
            if isinstance(request, wire.PlanStart):
                self._mill.put(lambda: self._plan(request, parts, answer), _size(parts))
            elif isinstance(request, wire.JobStatus):
                answer(self._jobs.status(request.job, request.id))
            elif isinstance(request, wire.JobCancel):
                answer(self._jobs.cancel(request.job, request.id))
            elif (begin := self._begun(request, parts)) is not None:
                self._submit(request, parts, answer, begin)
            else:
                answer(self._status(request))
        except JepadError as error:
            answer(_refused(request, error))
        except Exception as error:  # a fault of ours costs the one who found it, nobody else
            log.exception("a request failed")
            answer(_refused(request, EngineError(f"the scene engine failed: {error!r}")))

    def _begun(self, request: wire.Request, parts: Parts) -> Callable[[], Steps] | None:
        if isinstance(request, wire.EmbedFrames):
            return lambda: self._work.embed(request, parts)
        if isinstance(request, wire.PredictTemporal):
            return lambda: self._work.temporal(request, parts)
        if isinstance(request, wire.PredictAction):
            return lambda: self._work.action(request, parts)
        return None

    def _submit(
        self, request: wire.Request, parts: Parts, answer: Answer, begin: Callable[[], Steps]
    ) -> None:
        def done(result: Any) -> None:
            if isinstance(result, JepadError):
                refused = _refused(request, result)
                self._mill.tell(lambda: answer(refused))
            else:
                reply, beside = self._tokens(request.id, result)
                self._mill.tell(lambda: answer(reply, beside))

        held = _size(parts)
        self._mill.put(Call(begin, request.deadline_ns, done, held, time.monotonic_ns()), held)

    def _plan(self, request: wire.PlanStart, parts: Parts, answer: Answer) -> None:
        """In the mill's thread."""
        try:
            if time.monotonic_ns() > request.deadline_ns:
                raise Late("the scene engine was too busy to begin the plan by the deadline")
            sought = quest(self._work, request, parts)
            job = self._jobs.start(
                request.search.iterations, lambda report: planned(self._work, sought, report)
            )
            reply: wire.Reply = wire.JobStarted(request.id, job)
        except JepadError as error:
            reply = _refused(request, error)
        except Exception as error:  # a fault of ours costs the one who found it, nobody else
            log.exception("a plan could not begin")
            reply = _refused(request, EngineError(f"the plan could not begin: {error!r}"))
        self._mill.tell(lambda: answer(reply))

    def _tokens(self, number: int, result: Result) -> tuple[wire.Tokens, list[memoryview]]:
        values, data = wire.pack(result.values, 0)
        beside, states = [data], None
        if result.states is not None:
            states, more = wire.pack(result.states, 1)
            beside.append(more)
        digest, device = self._work.model.digest, self._host.device
        tokens = wire.Tokens(
            number, values, result.grid, digest, device, result.cached, states,
            result.classes, result.probabilities,
        )  # fmt: skip
        return tokens, beside


def _size(parts: Parts) -> int:
    return sum(len(part) for part in parts)


def _refused(request: wire.Request, error: JepadError) -> wire.Refused:
    return wire.Refused(request.id, error.bus_name, str(error))
