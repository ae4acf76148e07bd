"""Times of things that are done in turn, so that what else the machine does falls on all alike.

Owns: rounds, warm-up, medians, ratios within one run. Does not know: what is done.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Calls = Mapping[str, Callable[[], object]]
#: Runs a call and says how long it took, in seconds.
Clock = Callable[[Callable[[], object]], float]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of every call, one a round."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """Of one call, in seconds."""
        return statistics.median(self.seconds[name])

    def ratio(self, slow: str, fast: str) -> float:
        """How many times as long one takes as the other: the median over rounds of the ratio
        within each."""
        rounds = zip(self.seconds[slow], self.seconds[fast], strict=True)
        return statistics.median(one / other for one, other in rounds)


def processor_time(call: Callable[[], object]) -> float:
    """Seconds of processor time of this process, all of its threads: on a shared machine what wall
    time would be on a free one, where the call keeps to one thread."""
    start = time.process_time()
    call()
    return time.process_time() - start


def wall_time(call: Callable[[], object]) -> float:
    """Seconds on the wall."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interleaved(calls: Calls, rounds: int, clock: Clock = processor_time) -> Times:
    """Each call once unmeasured, then all of them in every round, in a shuffled order: none always
    finds the cache as the same other one left it."""
    names = list(calls)
    for name in names:
        calls[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    draws = random.Random(0)
    for _ in range(rounds):
        for name in draws.sample(names, len(names)):
            seconds[name].append(clock(calls[name]))
    return Times(seconds)
