"""What a machine should become: "mem.MemAvailable >= 4GiB", and how far from that it is.

Owns: the words of a goal, the distance to it. Does not know: what could be done about it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from jepad.errors import NotFound, SettingError
from jepad.records import Series
from jepad.view import measured

MAX_WANTS = 8
EXAMPLE = "write it as: mem.MemAvailable >= 4GiB"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_WANT = re.compile(rf"\s*(\S+?)\s*(>=|<=|≥|≤)\s*({_NUMBER})\s*([A-Za-z/%]*)\s*")
#: No scale is smaller: a goal of exactly 0 is no division by it.
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for, in their words."""

    domain: str
    wants: tuple[str, ...]
    horizon_us: int
    actions: tuple[str, ...] = ()  # () = all that may be proposed
    units: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Want:
    """One series at least, or at most, at a value in its own unit."""

    series: str
    least: bool  # at least, else at most
    value: float

    def distance(self, value: float) -> float:
        """How far `value` is on the wrong side, 0 on the right one; infinite of NaN."""
        short = self.value - value if self.least else value - self.value
        return max(0.0, short) if math.isfinite(value) else math.inf

    def __str__(self) -> str:
        return f"{self.series} {'>=' if self.least else '<='} {self.value:.12g}"


def wants(texts: Sequence[str], series: Sequence[Series], patterns: Sequence[str]) -> list[Want]:
    """The texts in terms of this machine's series. SettingError or NotFound when they can't be:
    a series must be one of the machine's, and match one of the patterns."""
    if not 0 < len(texts) <= MAX_WANTS:
        raise SettingError(f"want: name 1 to {MAX_WANTS} conditions; {EXAMPLE}")
    known = {s.name: s for s in series if any(fnmatchcase(s.name, p) for p in patterns)}
    return [_want(text, known) for text in texts]


def energy(wanted: Iterable[Want], values: Mapping[str, float], scales: Sequence[float]) -> float:
    """Mean distance to the goal, in scales; 0 = reached."""
    parts = [w.distance(values[w.series]) / s for w, s in zip(wanted, scales, strict=True)]
    return sum(parts) / len(parts)


def scale(want: Want, now: float) -> float:
    """What counts as 1 of its distances: the larger of the goal and what comes by itself."""
    return max(abs(want.value), abs(now) if math.isfinite(now) else 0.0, _LEAST)


def _want(text: str, known: Mapping[str, Series]) -> Want:
    match = _WANT.fullmatch(text[:512])
    if match is None:
        raise SettingError(f"want {text[:80]!r} is no condition; {EXAMPLE}")
    name, sign, number, suffix = match.groups()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else ". Series: jepactl top --once"
        raise NotFound(f"no series {name[:80]!r} in this domain{hint}")
    unit = known[name].unit
    value = measured(float(number), suffix, unit)
    if value is None:
        raise SettingError(f"want: {suffix[:16]!r} is no unit of {name}, which is in {unit}")
    if not math.isfinite(value):
        raise SettingError(f"want {text[:80]!r}: use a finite number")
    return Want(name, sign in (">=", "≥"), value)
