"""A worker's socket: who may ask, and what becomes of a message nobody can read.

Owns: the ZeroMQ ROUTER, its file's mode, counts of what came. Does not know what answers mean.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import zmq

from jepad.errors import EngineError, SettingError
from jepad.worker.tongue import Message, Part, Refused, Request, Tongue, encode, number

Q = TypeVar("Q", bound=Request)
A = TypeVar("A", bound=Message)

#: Messages read before other work gets its turn.
AT_ONCE = 64


class Answer(Protocol):
    """Sends a reply to whoever asked, raw parts beside it; once, in the door's own thread."""

    def __call__(self, reply: Message, parts: Sequence[Part] = ()) -> None: ...


class Asked(NamedTuple, Generic[Q]):
    """A request, the raw parts that came beside it, and the way to answer."""

    request: Q
    parts: Sequence[bytes]
    answer: Answer


@dataclass
class Counts:
    """Since the start."""

    requests: int = 0
    malformed: int = 0


class Door(Generic[Q, A]):
    """Bound on construction; the runtime directory is locked against a second one of that name."""

    def __init__(self, runtime: str, tongue: Tongue[Q, A], name: str = "") -> None:
        """`name` of the socket and the lock; the worker's unless there are several."""
        self.counts = Counts()
        self._tongue = tongue
        name = name or tongue.worker
        self._lock = _locked(runtime, name, tongue.worker)
        self._context = zmq.Context(io_threads=1)
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.setsockopt(zmq.MAXMSGSIZE, tongue.largest)
        self._socket.setsockopt(zmq.RCVHWM, tongue.waiting)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        path = f"{runtime}/{name}.sock"
        # Made 0600, not changed to it: nobody gets a moment to connect.
        before = os.umask(0o177)
        try:
            self._socket.bind(f"ipc://{path}")
        except zmq.ZMQError as error:
            raise SettingError(
                f"{path}: cannot listen: {zmq.strerror(error.errno or 0)}"
            ) from error
        finally:
            os.umask(before)
        self._path = path

    def wake_by(self, fd: int) -> None:
        """`wait` ends when this can be read, too."""
        self._poller.register(fd, zmq.POLLIN)

    def wait(self, milliseconds: int) -> bool:
        """True when something came."""
        return bool(self._poller.poll(milliseconds))

    def receive(self) -> list[Asked[Q]]:
        """What has come, each with the way to answer it."""
        asked = []
        for _ in range(AT_ONCE):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            one = self._read(frames)
            if one is not None:
                asked.append(one)
        return asked

    def close(self) -> None:
        """Answers already given still go out, for a second at most."""
        self._socket.close()
        self._context.term()
        os.unlink(self._path)
        os.close(self._lock)

    def _read(self, frames: list[bytes]) -> Asked[Q] | None:
        if not 2 <= len(frames) <= 2 + self._tongue.parts:
            self.counts.malformed += 1
            return None
        sender, payload, *parts = frames

        def answer(reply: Message, parts: Sequence[Part] = ()) -> None:
            # A ROUTER drops what its peer does not take: a slow client can't hold us up.
            self._socket.send_multipart([sender, encode(reply), *parts], zmq.NOBLOCK, copy=False)

        try:
            request = self._tongue.read_request(payload)
        except EngineError as error:
            self.counts.malformed += 1
            answer(Refused(number(payload), error.bus_name, str(error)))
            return None
        self.counts.requests += 1
        return Asked(request, parts, answer)


def _locked(runtime: str, name: str, worker: str) -> int:
    """A directory of ours that no other can write, held by us alone."""
    try:
        os.makedirs(runtime, mode=0o700, exist_ok=True)
        found = os.stat(runtime)
        if found.st_uid not in (os.geteuid(), 0) or found.st_mode & stat.S_IWOTH:
            raise SettingError(f"{runtime}: others may write there; the {worker} needs its own")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(f"{runtime}/{name}.lock", flags, 0o600)
    except OSError as error:
        raise SettingError(f"{runtime}: cannot use it as runtime directory: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise EngineError(f"another {worker} runs in {runtime}: stop it first") from error
    return lock
