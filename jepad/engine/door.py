"""The engine's socket: who may ask, and what becomes of a message nobody can read.

Owns: the ZeroMQ ROUTER, its file's mode, counts of what came. Does not know what answers mean.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from jepad.engine import wire
from jepad.errors import EngineError, SettingError

Answer = Callable[[wire.Reply], None]

#: Messages read before the tick gets its turn.
AT_ONCE = 64
NAME = "engine.sock"


@dataclass
class Counts:
    """Since the start."""

    requests: int = 0
    malformed: int = 0


class Door:
    """Bound on construction; the runtime directory is locked against a second engine."""

    def __init__(self, runtime: str) -> None:
        self.counts = Counts()
        self._lock = _locked(runtime)
        self._context = zmq.Context(io_threads=1)
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 100)
        self._socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_MESSAGE_BYTES)
        path = f"{runtime}/{NAME}"
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

    def wait(self, milliseconds: int) -> bool:
        """True when something came."""
        return bool(self._socket.poll(milliseconds))

    def receive(self) -> list[tuple[wire.Request, Answer]]:
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
        """Answers already given still go out, for a tenth of a second."""
        self._socket.close()
        self._context.term()
        os.unlink(self._path)
        os.close(self._lock)

    def _read(self, frames: list[bytes]) -> tuple[wire.Request, Answer] | None:
        if len(frames) != 2:
            self.counts.malformed += 1
            return None
        sender, payload = frames

        def answer(reply: wire.Reply) -> None:
            # A ROUTER drops what its peer does not take: a slow client can't hold us up.
            self._socket.send_multipart([sender, wire.encode(reply)], zmq.NOBLOCK)

        try:
            request = wire.read_request(payload)
        except EngineError as error:
            self.counts.malformed += 1
            answer(wire.Refused(0, error.bus_name, str(error)))
            return None
        self.counts.requests += 1
        return request, answer


def _locked(runtime: str) -> int:
    """A directory of ours that no other can write, held by us alone."""
    try:
        os.makedirs(runtime, mode=0o700, exist_ok=True)
        found = os.stat(runtime)
        if found.st_uid not in (os.geteuid(), 0) or found.st_mode & stat.S_IWOTH:
            raise SettingError(f"{runtime}: others may write there; the engine needs its own")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(f"{runtime}/engine.lock", flags, 0o600)
    except OSError as error:
        raise SettingError(f"{runtime}: cannot use it as runtime directory: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise EngineError(f"another engine runs in {runtime}: stop it first") from error
    return lock
