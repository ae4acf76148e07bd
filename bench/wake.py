"""How long a Python process sleeps on after another one sent it something.

Owns: one sender and one forked receiver a transport; rounds go around the transports, so that
what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

GAP_S = 0.001  # everybody is asleep by then
WARM_ROUNDS = 20

Note = Callable[[int, int], None]  # round, time of sending; round `rounds` once: ready
Send = Callable[[int], None]  # round


@dataclass(slots=True)
class Wakes:
    """Quantiles of each transport that could be had, and why others could not."""

    p50_us: dict[str, float] = field(default_factory=dict)
    p90_us: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """What every transport is given."""

    size: int
    rounds: int
    directory: str


@contextmanager
def _nothing(_job: Job) -> Iterator[None]:
    yield


@dataclass(frozen=True, slots=True)
class Peer:
    """The two ends of a transport, what must run around them, and why it can't be had."""

    receive: Callable[[Job, Note], None]
    send: Callable[[Job, ExitStack], Send]
    around: Callable[[Job], AbstractContextManager[None]] = _nothing
    missing: str = ""


def wakes(job: Job, peers: dict[str, Peer]) -> Wakes:
    """Send the job's messages by each transport in turn."""
    out = Wakes()
    took: dict[str, NDArray[np.int64]] = {}
    with ExitStack() as stack:
        senders = []
        for name, peer in peers.items():
            if peer.missing:
                out.notes[name] = peer.missing
                continue
            stack.enter_context(peer.around(job))
            took[name] = np.frombuffer(mmap.mmap(-1, 8 * (job.rounds + 1)), np.int64)
            stack.enter_context(_receiver(peer, job, took[name]))
            senders.append(peer.send(job, stack))
        _await(took)
        _go_around(job.rounds, senders)
    for name, values in took.items():
        seen = values[WARM_ROUNDS:-1][values[WARM_ROUNDS:-1] > 0] / 1e3
        if len(seen) < job.rounds // 2:
            out.notes[name] = f"only {len(seen)} of {job.rounds} messages arrived"
            continue
        out.p50_us[name], out.p90_us[name] = (float(np.quantile(seen, q)) for q in (0.5, 0.9))
    return out


def _await(took: dict[str, NDArray[np.int64]]) -> None:
    """Until every receiver noted the round after the last one: it is ready."""
    deadline = time.monotonic() + 20
    while not all(values[-1] for values in took.values()) and time.monotonic() < deadline:
        time.sleep(0.05)


def _go_around(rounds: int, senders: list[Send]) -> None:
    for i in range(rounds):
        for send in senders:
            time.sleep(GAP_S)
            send(i)
    time.sleep(0.2)


@contextmanager
def _receiver(peer: Peer, job: Job, took: NDArray[np.int64]) -> Iterator[None]:
    """A child that notes how old each message is when Python has it."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(300)

        def note(i: int, sent_ns: int) -> None:
            took[i] = time.monotonic_ns() - sent_ns

        try:
            peer.receive(job, note)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
