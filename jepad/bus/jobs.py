"""org.jepad1.Job: an object on the bus for each job, seen by who asked for it alone.

Owns: these objects, their signals and the pace of these, the watch over callers that have jobs.
Does not know: what is worked on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from jepad.bus import changes, schema
from jepad.bus.connection import BUS, Connection
from jepad.bus.dispatch import Adapter, Answer, Call, Rejection, Tree, words
from jepad.bus.seam import Message, MessageFlag, Variant
from jepad.bus.variants import clean, wrap_all
from jepad.errors import BusError
from jepad.paths import OBJECT_PATH
from jepad.policy.jobs import Job, Jobs, Listener

INTERFACE = "org.jepad1.Job"
INTERVAL_S = 0.1
DEPTH = 1
MAX_WORDS = 255
#: Types that callers rely on, of whatever job; of the rest the value tells.
RESULT_TYPES = {
    "series": "as", "units": "as", "names": "as", "energies": "ad", "mean": "ad", "std": "ad",
    "without": "a(ddd)", "with": "a(ddd)", "difference": "a(ddd)", "horizon_usec": "t",
    "landscape": "ad", "landscape_shape": "at", "landscape_axes": "as",
}  # fmt: skip


def path(job: Job) -> str:
    """Where it is on the bus."""
    return f"{OBJECT_PATH}/job/{job.id}"


class JobObjects:
    """Puts jobs on the bus while they are, and ends those of callers who left."""

    def __init__(self, jobs: Jobs, tree: Tree, connection: Connection) -> None:
        self._jobs, self._tree, self._connection = jobs, tree, connection
        self._watched: set[str] = set()
        self._asking: Counter[str] = Counter()
        self._due: dict[int, asyncio.TimerHandle] = {}
        jobs.subscribe(Listener(self._began, self._changed, self._gone))

    @contextlib.asynccontextmanager
    async def staying(self, sender: str) -> AsyncIterator[None]:
        """While a call asks for a job: the bus says when its caller leaves. BusError if it did.

        Start the job right away inside, without another wait: who leaves later is seen."""
        self._asking[sender] += 1
        try:
            await self._watch(sender)
            yield
        finally:
            self._asking[sender] -= 1
            self._unwatch(sender)

    def left(self, name: str) -> None:
        """A connection is gone."""
        if name in self._watched:
            self._forget(name)
            self._jobs.leave(name)

    def close(self) -> None:
        """Jobs end with the door."""
        self._jobs.close()
        for timer in self._due.values():
            timer.cancel()

    async def _watch(self, sender: str) -> None:
        if sender not in self._watched:
            self._watched.add(sender)
            await self._connection.call_bus("AddMatch", "s", _rule(sender))
        reply = await self._connection.call_bus("NameHasOwner", "s", sender)
        if not reply.body[0]:
            self.left(sender)
        if sender not in self._watched:  # it may have left since the bus answered
            raise BusError("you are not on the bus any more")

    def _unwatch(self, sender: str) -> None:
        if self._asking[sender] or self._jobs.held_by(sender):
            return
        del self._asking[sender]
        if sender in self._watched:
            self._forget(sender)

    def _forget(self, sender: str) -> None:
        self._watched.discard(sender)
        self._connection.send(
            Message(
                destination=BUS,
                path="/org/freedesktop/DBus",
                interface=BUS,
                member="RemoveMatch",
                flags=MessageFlag.NO_REPLY_EXPECTED,
                signature="s",
                body=[_rule(sender)],
            )
        )

    def _began(self, job: Job) -> None:
        self._tree.add(path(job), self._adapter(job))

    def _gone(self, job: Job) -> None:
        self._tree.remove(path(job))
        if timer := self._due.pop(job.id, None):
            timer.cancel()
        self._unwatch(job.owner.sender)

    def _changed(self, job: Job) -> None:
        if job.state != "running":
            self._tell(job.id)
            text = words(job.error)[1] if job.error else ""
            signature = schema.load(INTERFACE).signals["Finished"]
            signal = (INTERFACE, "Finished", signature)
            self._connection.emit(path(job), signal, job.state, text, to=job.owner.sender)
        elif job.id not in self._due:
            loop = asyncio.get_running_loop()
            self._due[job.id] = loop.call_later(INTERVAL_S, self._tell, job.id)

    def _tell(self, number: int) -> None:
        if timer := self._due.pop(number, None):
            timer.cancel()
        job = self._jobs.get(number)
        values = {"State": Variant("s", job.state), "Progress": Variant("(isi)", _progress(job))}
        self._connection.emit(path(job), changes.SIGNAL, INTERFACE, values, [], to=job.owner.sender)

    def _adapter(self, job: Job) -> Adapter:
        number, uid = job.id, job.owner.uid

        def admit(call: Call) -> None:
            if call.uid != uid:
                raise Rejection("AccessDenied", f"job {number} is another user's")

        def cancel(_call: Call) -> Answer:
            self._jobs.cancel(number)
            return Answer()

        def now() -> Job:
            return self._jobs.get(number)

        return Adapter(
            schema.load(INTERFACE),
            methods={"Cancel": cancel},
            getters={
                "State": lambda: now().state,
                "Progress": lambda: _progress(now()),
                "Result": lambda: wrap_all(now().result or {}, RESULT_TYPES),
                "Error": lambda: list(_error(now())),
            },
            admit=admit,
        )


def _rule(sender: str) -> str:
    return f"type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{sender}'"


def _progress(job: Job) -> list[object]:
    return [job.percent, clean(job.words)[:MAX_WORDS], DEPTH]


def _error(job: Job) -> tuple[str, str]:
    return words(job.error) if job.error else ("", "")
