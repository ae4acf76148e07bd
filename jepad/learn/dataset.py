"""From directories of files to cuts: for training at several paces, for validation as recorded.

Owns: which paces, which hosts go where, what tells data apart. Does not know: windows, the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from jepad.heads.prepare import CONTEXT
from jepad.learn.corpus import Cut, brief, cut, decimated, held_out
from jepad.learn.traces import Trace, read_all
from jepad.learn.windows import REACH

#: Beyond the recorded pace: one minute or more, about a second, and well below it.
_SLOW, _SECONDS, _FAST = (3, 10), (2, 5, 10, 30), (5, 10, 25, 50)


def load(directories: Sequence[str]) -> list[Trace]:
    """Every trace of every directory."""
    return [trace for directory in directories for trace in read_all(directory)]


def training(traces: Iterable[Trace]) -> list[Cut]:
    """Cuts of the hosts that train, the recorded pace first."""
    traces = list(traces)
    held = held_out(traces)
    return [c for t in traces if t.key not in held for c in _paced(t)]


def validation(traces: Iterable[Trace]) -> list[Cut]:
    """Held-out hosts as recorded; of sources too small to hold one out, all, to be scored later
    in time than training saw."""
    traces = list(traces)
    held = held_out(traces)
    split = {t.source for t in traces if t.key in held}
    cuts = [cut(t) for t in traces if t.key in held or t.source not in split]
    return [c for c in cuts if c is not None]


def fingerprint(cuts: Iterable[Cut]) -> str:
    """Says whether two trainings read the same numbers."""
    out = hashlib.blake2b(digest_size=16)
    for c in cuts:
        out.update(repr((c.key, c.dt_s, c.end, c.day, c.values.shape)).encode())
        out.update(np.ascontiguousarray(c.values).data)
    return out.hexdigest()


def _paced(trace: Trace) -> Iterator[Cut]:
    if (short := brief(trace)) is not None:
        yield short
        return
    paces = _SLOW if trace.dt_s >= 10 else _FAST if trace.dt_s < 0.5 else _SECONDS
    for pace in (1, *paces):
        for mean in (True, False) if pace > 1 else (True,):
            if pace > 1 and trace.dt_s >= 10 and not mean:
                continue
            made = cut(decimated(trace, pace, mean))
            if made is not None and made.end > CONTEXT + REACH - 2:
                yield made
