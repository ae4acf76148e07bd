"""A recorded stretch of telemetry of one machine.

Owns: the Trace record and the limits of what is read from files. Does not know: file formats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.records import Floats, Series

#: A file that unpacks to more is refused: a few kilobytes can claim to hold terabytes.
MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Trace:
    """Rows oldest first, raw as recorded: counters are not yet rates."""

    series: tuple[Series, ...]  # C
    t_s: Floats  # [T], strictly increasing; seconds since any moment
    values: Floats  # [T, C], NaN where nothing was seen
    dt_s: float  # the median step
    name: str = ""  # of the trace inside its file
    host: str = ""  # traces of one host belong on one side of a split
    label: NDArray[np.uint8] | None = None  # [T], 1 = anomaly, where somebody marked them
    torn: bool = False  # the last line was cut off by a crash, and was dropped


def median_step(t_s: Floats) -> float:
    """Seconds between rows; 1 for a single row."""
    return float(np.median(np.diff(t_s))) if len(t_s) > 1 else 1.0


def later(t_s: Floats) -> NDArray[np.bool_]:
    """Rows later than all before; a clock that was set back repeats times, and those rows go."""
    return np.diff(np.maximum.accumulate(t_s), prepend=-np.inf) > 0
