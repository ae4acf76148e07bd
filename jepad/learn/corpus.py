"""The training corpus: who is held out, at which paces each trace is read, and its scales.

Owns: the split by host and by time, decimation, per-channel scales and history.
Does not know: windows, the network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from jepad.heads.prepare import HORIZONS
from jepad.learn.traces import Trace
from jepad.records import Floats32

DAY_S = 86400.0
#: Share of each trace's time, from its start, that training may see.
TRAIN_SHARE = 0.75
#: Recordings of this very project end earlier: their last third validates.
OWN_SHARE = 2 / 3
OWN = ("host_1hz", "host_10hz", "vm_memstall")
#: A gym's episodes are split by seed, in its manifest; all the time of one trains.
GYM = ("gym_native", "gym_guest")
CHECKPOINTS = 32
#: Samples of which a trace is cut by time too, and fewest of which one is worth reading.
_LONG, _BRIEF = 192, 28
_HELD_EVERY, _HELD_AT = 5, 2


@dataclass(frozen=True, slots=True)
class Cut:
    """A trace at one pace, with what is needed to draw windows from it."""

    key: str
    source: str
    dt_s: float
    values: Floats32  # [T, C'], channels that move
    end: int  # training stops before this sample
    day: int  # samples a day; 0 = the trace is too short to have seen one
    best: Floats32  # [C', H]: mean error of the best plain guess, the unit of the loss
    past: Floats32  # [CHECKPOINTS + 1, 3, C']: mean, sd, q97 of everything before
    channels: tuple[int, ...]  # of the trace

    @property
    def seen(self) -> int:
        """Samples."""
        return len(self.values)

    @property
    def brief(self) -> bool:
        """Too short for a whole window."""
        return len(self.values) < _LONG


def held_out(traces: Iterable[Trace]) -> frozenset[str]:
    """Hosts that never train: of each source's sorted hosts every fifth, from the third on.

    Recordings of this project are one host each and are split by time instead; a gym says itself
    which of its episodes are held out.
    """
    hosts: dict[str, set[str]] = {}
    held = set()
    for trace in traces:
        hosts.setdefault(trace.source, set()).add(trace.key)
        held |= {trace.key} if trace.held else set()
    by_rule = {
        key
        for source, keys in hosts.items()
        if source not in OWN + GYM
        for key in sorted(keys)[_HELD_AT::_HELD_EVERY]
    }
    return frozenset(held | by_rule)


def decimated(trace: Trace, pace: int, mean: bool) -> Trace:
    """Every `pace`-th sample, or the mean of `pace` of them."""
    whole = len(trace.values) // pace * pace
    folded = trace.values[:whole].reshape(-1, pace, trace.values.shape[1])
    values = folded.mean(1) if mean else folded[:, -1]
    return Trace(trace.source, trace.host, trace.dt_s * pace, np.ascontiguousarray(values))


def cut(trace: Trace, share: float | None = None) -> Cut | None:
    """Measure a trace; None when it is too short or nothing in it moves."""
    share = _share(trace) if share is None else share
    total = len(trace.values)
    end = int(total * share)
    return _measured(trace, end) if total >= _LONG and end >= 128 else None


def brief(trace: Trace) -> Cut | None:
    """As `cut`, of a series too short for that: all its time trains, hosts alone split it."""
    total = len(trace.values)
    return _measured(trace, total) if _BRIEF <= total < _LONG else None


def _measured(trace: Trace, end: int) -> Cut | None:
    total = len(trace.values)
    head = trace.values[:end]
    moves = np.nan_to_num(np.abs(np.diff(head, axis=0))) > 0
    channels = np.flatnonzero(moves.mean(0) > 0.003)
    if not len(channels):
        return None
    values = np.ascontiguousarray(trace.values[:, channels])
    day = round(DAY_S / trace.dt_s)
    day = day if day + 256 < total else 0
    return Cut(
        key=trace.key,
        source=trace.source,
        dt_s=trace.dt_s,
        values=values,
        end=end,
        day=day,
        best=_best(values[:end], day),
        past=_checkpoints(values),
        channels=tuple(int(c) for c in channels),
    )


def _share(trace: Trace) -> float:
    """Of the trace's time that training may see, were it to train."""
    if trace.source in GYM and not trace.held:
        return 1.0
    return OWN_SHARE if trace.source in OWN else TRAIN_SHARE


def _best(values: Floats32, day: int) -> Floats32:
    """Of persistence, the mean of 16 and yesterday: the smallest mean error, by horizon."""
    out = np.empty((values.shape[1], len(HORIZONS)), np.float32)
    clean = np.nan_to_num(values)
    total = np.cumsum(clean, axis=0, dtype=np.float64)
    mean = ((total[16:] - total[:-16]) / 16).astype(np.float32)  # mean[i] ends at i + 16
    for i, h in enumerate(HORIZONS):
        if len(values) < h + 8:  # a brief one: as at the horizon before
            out[:, i] = out[:, i - 1]
            continue
        errors = [np.abs(values[h:] - values[:-h])]
        persistence = np.nanmean(errors[0], axis=0)
        if len(values) > 16 + h:
            errors.append(np.abs(values[16 + h :] - mean[: len(values) - 16 - h]))
        if day and len(values) > 2 * day:
            errors.append(np.abs(values[day:] - values[:-day]))
        best = np.min([np.nanmean(e, axis=0) for e in errors], axis=0)
        out[:, i] = np.maximum(best, 0.1 * persistence)
    return np.maximum(np.nan_to_num(out), 1e-9)


def _checkpoints(values: Floats32) -> Floats32:
    """Row i: mean, deviation and q97 of the first i/CHECKPOINTS of the samples; NaN at first."""
    out = np.full((CHECKPOINTS + 1, 3, values.shape[1]), np.nan, np.float32)
    for i in range(1, CHECKPOINTS + 1):
        seen = values[: len(values) * i // CHECKPOINTS]
        seen = seen[:: max(1, len(seen) // 1500)]
        if len(seen) < 192 or not np.isfinite(seen).any(0).all():
            continue
        out[i, 0], out[i, 1] = np.nanmean(seen, 0), np.nanstd(seen, 0)
        out[i, 2] = np.nanquantile(seen, 0.97, axis=0)
    return out
