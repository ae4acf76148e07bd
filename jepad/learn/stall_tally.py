"""How good a warner is: stalls warned of, how early, alarms in vain.

Owns: what counts as warned and as a false alarm. Does not know: who warns, or why.

Warned: the alarm is on at some moment from 60 s to 1 s before the onset; the lead is the time
since it came on, 60 s at most. False: an alarm that comes on in calm time; one that lasts is a
new one every 60 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.learn.stall_onsets import WARN_S, Recording
from jepad.records import Floats

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Told:
    """One warner on one recording."""

    recording: Recording
    t_s: Floats
    on: Bools


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one warner on several recordings."""

    leads: Floats  # an onset each; 0 = not warned of
    first: Bools  # which onsets begin a storm
    false: int
    hours: float
    on_share: float  # of calm time

    def recall(self) -> float:
        """Share of onsets warned of."""
        return float((self.leads > 0).mean()) if len(self.leads) else float("nan")

    def lead(self) -> float:
        """Median over the onsets warned of."""
        return float(np.median(self.leads[self.leads > 0])) if self.recall() > 0 else float("nan")

    def alarms_h(self) -> float:
        """False ones an hour of calm time."""
        return self.false / self.hours if self.hours else float("nan")


def tally(told: Sequence[Told]) -> Tally:
    """Sum it up over recordings."""
    leads = np.concatenate([_leads(one) for one in told])
    calm_on = sum(float((one.on & one.recording.calm(one.t_s)).sum()) for one in told)
    calm = sum(float(one.recording.calm(one.t_s).sum()) for one in told)
    return Tally(
        leads=leads,
        first=np.concatenate([one.recording.first() for one in told]),
        false=sum(_false(one) for one in told),
        hours=sum(one.recording.hours() for one in told),
        on_share=calm_on / calm if calm else float("nan"),
    )


def _starts(told: Told) -> NDArray[np.intp]:
    return np.flatnonzero(np.diff(told.on.astype(int), prepend=0) == 1)


def _leads(told: Told) -> Floats:
    """Of each onset; 0 where no warning was on in time."""
    t_s, starts = told.t_s, _starts(told)
    leads = np.zeros(len(told.recording.onsets))
    for k, onset in enumerate(told.recording.onsets):
        due = np.flatnonzero(told.on & (t_s >= onset - WARN_S) & (t_s <= onset - 1.0 + 1e-6))
        if len(due):
            began = t_s[starts[np.searchsorted(starts, due[-1], side="right") - 1]]
            leads[k] = min(onset - began, WARN_S)
    return leads


def _false(told: Told) -> int:
    """Alarms that came on in calm time, one more for every 60 s they lasted in it."""
    t_s, starts = told.t_s, _starts(told)
    ends = np.flatnonzero(np.diff(told.on.astype(int), append=0) == -1)
    said = [np.arange(t_s[a], t_s[b] + 1e-6, WARN_S) for a, b in zip(starts, ends, strict=True)]
    return int(told.recording.calm(np.concatenate(said)).sum()) if said else 0


def held(t_s: Floats, score: Floats, limits: tuple[float, float], hold_s: float) -> Bools:
    """When an alarm is on that comes once the score was at the first limit for so long, and goes
    once it was below the second as long: as policy/alerts.py."""
    on = np.zeros(len(t_s), bool)
    active, since = False, np.inf
    for i, (now, value) in enumerate(zip(t_s, score, strict=True)):
        turns = value < limits[1] if active else value >= limits[0]
        since = min(since, now) if turns else np.inf
        if now - since >= hold_s:
            active, since = not active, np.inf
        on[i] = active
    return on
