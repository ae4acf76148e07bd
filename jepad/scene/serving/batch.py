"""Dynamic batching: calls of one shape share one run of the model.

Owns: the queue, its limits, the rule that an answer comes in time or is an error.
Does not know sockets, pictures, or what is done with an answer.

A call is a generator: it yields what it needs of the model and is sent what comes of it, as often
as it likes; what it returns is its answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepad.errors import EngineError, JepadError, Late, TooLarge
from jepad.scene.backend import Backend, Encoded, Floats, Tables

log = logging.getLogger(__name__)

MAX_BATCH = 32
MAX_WAIT_NS = 10_000_000
#: Tokens of one run at most: what more would take in memory buys no more speed.
MAX_TOKENS = 1 << 16
#: Beyond these the queue could not be answered in time anyway, or is too much to hold.
MAX_QUEUE, MAX_HELD = 16 * MAX_BATCH, 1 << 30


class Encode(NamedTuple):
    """Wants Encoded of patches [b, K, P]."""

    patches: Floats
    tables: Tables
    levels: bool = False
    same: Hashable = None  # equal ones of a kind want the same; None: nobody else does


class Predict(NamedTuple):
    """Wants the predictions [b, T, D] from context [b, C, D]."""

    context: Floats
    tables: Tables
    mask_index: int
    same: Hashable = None


class Classify(NamedTuple):
    """Wants the logits [b, classes] of tokens [b, K, D]."""

    tokens: Floats
    same: Hashable = None


class Alone(NamedTuple):
    """Wants what this makes of the backend; it runs by itself."""

    run: Callable[[Backend], Any]


Need = Encode | Predict | Classify | Alone
Steps = Generator[Need, Any, Any]
#: Runs something with the backend in force; DeviceLost is told to whoever can mend it.
Host = Callable[[Callable[[Backend], Any]], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One question, on its way."""

    begin: Callable[[], Steps]
    deadline_ns: int  # CLOCK_MONOTONIC
    done: Callable[[Any], None]  # its answer, or a JepadError; called once
    held: int = 0  # bytes that it keeps while it waits
    came_ns: int | None = None  # None: just now


class _Waiting(NamedTuple):
    call: Call
    steps: Steps
    need: Need
    since_ns: int

    @property
    def key(self) -> Any:
        """Equal keys run together."""
        need = self.need
        if isinstance(need, Alone):
            return id(self)
        array = need[0]
        if isinstance(need, Classify):
            return type(need), array.shape[1:]
        return type(need), array.shape[1:], need.tables.cos.shape[1:], need[2]

    @property
    def same(self) -> Hashable:
        """Of equal keys, equal ones are computed once."""
        told = None if isinstance(self.need, Alone) else self.need.same
        return id(self) if told is None else told

    @property
    def tokens(self) -> int:
        """Of this call in a run."""
        if isinstance(self.need, Alone):
            return MAX_TOKENS
        if isinstance(self.need, Classify):
            return int(self.need.tokens.shape[0] * self.need.tokens.shape[1])
        return int(self.need[0].shape[0]) * int(self.need.tables.cos.shape[1])

    @property
    def rows(self) -> int:
        """Of this call in a run."""
        return 1 if isinstance(self.need, Alone) else len(self.need[0])

    @property
    def held(self) -> int:
        """Bytes that it keeps: what came, and what was made of it."""
        return self.call.held + (0 if isinstance(self.need, Alone) else self.need[0].nbytes)


class Batch:
    """Calls gather for a moment, then run together. One thread uses it."""

    def __init__(
        self,
        host: Host,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        most: Callable[[], int] = lambda: MAX_TOKENS,
    ) -> None:
        """`most`: tokens of one run, as memory allows just now."""
        self._host, self._most = host, most
        self._clock_ns = clock_ns
        self._queue: list[_Waiting] = []
        self.late = self.runs = self.calls = self.largest = 0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, call: Call) -> None:
        """Answers through the call, whatever happens."""
        held = sum(waiting.held for waiting in self._queue)
        if len(self._queue) >= MAX_QUEUE or held + call.held > MAX_HELD:
            call.done(EngineError(f"{len(self._queue)} calls are waiting already: try later"))
            return
        if self._too_late(call):
            return
        came_ns = self._clock_ns() if call.came_ns is None else call.came_ns
        self._go_on(call, call.begin(), None, came_ns)

    def wait_ns(self) -> int | None:
        """How long the next run may still wait for company; None = nothing to do."""
        if not self._queue:
            return None
        first = self._queue[0]
        rows = sum({w.same: w.rows for w in self._together(first, MAX_TOKENS)}.values())
        if isinstance(first.need, Alone) or rows >= MAX_BATCH:
            return 0
        return max(0, first.since_ns + MAX_WAIT_NS - self._clock_ns())

    def run(self) -> None:
        """One run of the model: for the oldest call, and those it can share with."""
        for waiting in [w for w in self._queue if self._clock_ns() > w.call.deadline_ns]:
            self._queue.remove(waiting)
            waiting.steps.close()
            self._end(waiting.call, self._lateness())
        if not self._queue:
            return
        group = self._together(self._queue[0], min(self._most(), MAX_TOKENS))
        chosen = {id(waiting) for waiting in group}
        self._queue = [w for w in self._queue if id(w) not in chosen]
        needs = {waiting.same: waiting.need for waiting in reversed(group)}
        try:
            made = self._host(lambda backend: answered(backend, list(needs.values())))
        except JepadError as error:
            for waiting in group:
                waiting.steps.close()
                self._end(waiting.call, error)
            return
        self.runs += 1
        self.largest = max(self.largest, len(group))
        results = dict(zip(needs, made, strict=True))
        for waiting in group:
            # What follows of a call has waited already.
            self._go_on(waiting.call, waiting.steps, results[waiting.same], waiting.since_ns)

    def _together(self, first: _Waiting, most: int) -> list[_Waiting]:
        """The oldest calls of its kind that fit into one run of so many tokens, and whoever wants
        the same as one of these."""
        key, tokens, rows = first.key, 0, 0
        chosen: set[Hashable] = set()
        full = False
        out: list[_Waiting] = []
        for waiting in self._queue:
            if waiting is not first and waiting.key != key:
                continue
            if waiting.same not in chosen:
                tokens, rows = tokens + waiting.tokens, rows + waiting.rows
                full = full or (bool(out) and (tokens > most or rows > MAX_BATCH))
                if full:
                    continue
                chosen.add(waiting.same)
            out.append(waiting)
        return out

    def _go_on(self, call: Call, steps: Steps, result: Any, since_ns: int) -> None:
        try:
            need = next(steps) if result is None else steps.send(result)
        except StopIteration as end:
            if self._clock_ns() > call.deadline_ns:
                self._end(call, self._lateness())
            else:
                self._end(call, end.value)
        except JepadError as error:
            self._end(call, error)
        except MemoryError:
            self._end(call, TooLarge("out of memory over this call; smaller ones are answered"))
        except Exception as error:  # a fault of ours costs the one who found it, nobody else
            log.exception("a call failed")
            self._end(call, EngineError(f"the scene engine failed over this call: {error!r}"))
        else:
            self._queue.append(_Waiting(call, steps, need, since_ns))

    def _end(self, call: Call, answer: Any) -> None:
        self.calls += 1
        call.done(answer)

    def _too_late(self, call: Call) -> bool:
        if self._clock_ns() <= call.deadline_ns:
            return False
        call.done(self._lateness())
        return True

    def _lateness(self) -> Late:
        self.late += 1
        return Late("the scene engine was too busy to answer by the deadline")


def answered(backend: Backend, needs: Sequence[Need]) -> list[Any]:
    """One run of the model: what each of some needs of one kind gets."""
    first = needs[0]
    if isinstance(first, Alone):
        return [first.run(backend)]
    arrays = [need[0] for need in needs if not isinstance(need, Alone)]
    joined = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    ends = np.cumsum([len(a) for a in arrays])[:-1]
    if isinstance(first, Classify):
        return np.split(_checked(backend.classify(joined)), ends)
    tables = _joined([(n.tables, len(n[0])) for n in needs if isinstance(n, Encode | Predict)])
    if isinstance(first, Predict):
        return np.split(_checked(backend.predict(joined, tables, first.mask_index)), ends)
    made = backend.encode(joined, tables, first.levels)
    tokens = np.split(_checked(made.tokens), ends)
    if made.levels is None:
        return [Encoded(each) for each in tokens]
    levels = np.split(made.levels, ends)
    return [Encoded(*both) for both in zip(tokens, levels, strict=True)]


def _joined(tables: Sequence[tuple[Tables, int]]) -> Tables:
    """One for all where it is the same, else a row for each of the batch."""
    first = tables[0][0]
    if all(each is first for each, _ in tables):
        return first
    return Tables(*(
        np.concatenate([np.repeat(t[i], n // len(t[i]), 0) for t, n in tables]) for i in (0, 1)
    ))  # fmt: skip


def _checked(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """No NaN leaves."""
    if not np.isfinite(tokens).all():
        raise EngineError("the model gave numbers that are not finite: its device may be faulty")
    return tokens
