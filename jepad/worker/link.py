"""Asks a worker from an asyncio program.

Owns: one DEALER socket, correlation of replies, a deadline on every call.
Does not know what an answer means, nor who keeps the worker alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import zmq
import zmq.asyncio

from jepad.errors import EngineError, Late, named
from jepad.worker.tongue import Message, Part, Refused, Request, Tongue, encode

Q = TypeVar("Q", bound=Request)
A = TypeVar("A", bound=Message)
R = TypeVar("R", bound=Message)


class Heard(NamedTuple, Generic[R]):
    """A reply and the raw parts beside it."""

    reply: R
    parts: Sequence[bytes]


class Link(Generic[Q, A]):
    """Connects by itself, again and again; a call waits for the worker until its deadline."""

    def __init__(self, endpoint: str, tongue: Tongue[Q, A]) -> None:
        self._tongue = tongue
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        # Nothing is queued for a worker that is not there: it would answer late, or twice.
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket.setsockopt(zmq.MAXMSGSIZE, tongue.largest_reply)
        self._socket.setsockopt(zmq.SNDHWM, tongue.waiting)
        self._socket.connect(endpoint)
        self._waiting: dict[int, asyncio.Future[Heard[A]]] = {}
        self._sending: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._reader: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Calls without an answer yet."""
        return len(self._waiting)

    async def ask(
        self,
        kind: type[R],
        request: Callable[[int, int], Q],  # (id, deadline_ns)
        timeout: float = 1.0,
        parts: Sequence[Part] = (),
    ) -> Heard[R]:
        """One call. Late when there is no answer in time; EngineError for one of another kind;
        what the worker refused is raised as the error it said. Large parts are not copied."""
        if self._reader is None:
            self._reader = asyncio.create_task(
                self._read(), name=f"{self._tongue.worker} replies"
            )  # fmt: skip
        number = next(self._ids)
        deadline = time.monotonic_ns() + int(timeout * 1e9)
        reply: asyncio.Future[Heard[A]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        try:
            async with asyncio.timeout(timeout):
                payload = encode(request(number, deadline))
                sending = asyncio.ensure_future(
                    self._socket.send_multipart([payload, *parts], copy=False)
                )  # fmt: skip
                self._sending[number] = sending
                await sending
                del self._sending[number]
                answer = await reply
        except TimeoutError:
            said = f"the {self._tongue.worker} gave no answer within {timeout:.3g} s"
            raise Late(said) from None
        finally:
            del self._waiting[number]
            self._sending.pop(number, None)
        return self._expect(kind, answer)

    def fail(self, error: EngineError, everything: bool = False) -> None:
        """The worker is gone, and with it what it was asked. Calls that were not sent yet wait for
        the next one, unless `everything` fails."""
        for number, reply in self._waiting.items():
            sending = self._sending.get(number)
            if sending is None or (sending.done() and not sending.cancelled()):
                _fail(reply, error)
            elif everything:
                _fail(sending, error)

    async def close(self) -> None:
        """Stop reading; calls still waiting fail."""
        self.fail(EngineError(f"the {self._tongue.worker} is not asked any more"), True)
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        self._socket.close()
        self._context.term()

    async def _read(self) -> None:
        while True:
            payload, *parts = await self._socket.recv_multipart()
            try:
                reply = self._tongue.read_reply(payload)
            except EngineError:
                continue  # the call it was for ends by its deadline
            waiting = self._waiting.get(reply.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(Heard(reply, parts))

    def _expect(self, kind: type[R], answer: Heard[A]) -> Heard[R]:
        reply = answer.reply
        if isinstance(reply, Refused):
            raise named(reply.bus_name)(reply.message)
        if not isinstance(reply, kind):
            raise EngineError(f"the {self._tongue.worker} answered with a {type(reply).__name__}")
        return Heard(reply, answer.parts)


def _fail(future: asyncio.Future[Any], error: EngineError) -> None:
    if not future.done():
        future.set_exception(type(error)(*error.args))  # each caller adds its own traceback
