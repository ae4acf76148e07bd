"""The records that travel between rooms, one an arrow of the data path.

Owns: the shape and meaning of a series, a sample, a window, a forecast, a risk.
Does not know: where they come from, how they are stored, who reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Semantics = Literal["gauge", "counter"]
Part = Literal["model", "baseline", "blend"]

#: Slot flag: time passed unseen before this sample (suspend, missed ticks).
GAP = 1


@dataclass(frozen=True, slots=True)
class Series:
    """One telemetry channel. A counter only grows; its forecast is of its rate, in ``unit``/s."""

    name: str
    unit: str
    semantics: Semantics


@dataclass(frozen=True, slots=True)
class Sample:
    """All series at one moment; NaN where a source gave nothing."""

    t_ns: int  # CLOCK_MONOTONIC
    values: Floats  # [C], raw: counters are not yet rates
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """The newest samples of a stream, oldest first."""

    series: tuple[Series, ...]  # C of them
    t_ns: NDArray[np.int64]  # [T], CLOCK_MONOTONIC
    values: Floats  # [T, C], raw
    flags: NDArray[np.uint32]  # [T]
    last_n: int  # ring sequence of the newest row


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of each forecast channel, and which part of the ensemble spoke."""

    source_n: int  # ring sequence of the newest sample it was made from
    t_ns: int  # CLOCK_MONOTONIC of that sample
    series: tuple[Series, ...]  # C channels; unit is that of the forecast (counters: per second)
    horizons_s: tuple[float, ...]  # H
    quantiles: Floats32  # [C, H, 3]: p10, p50, p90
    p_rise: Floats32  # [C, H]: probability to rise above the channel's own recent q97
    weight: Floats32  # [C, H]: share of the model in the blend, 0 = baseline alone
    surprise: float  # how unlike its usual self the machine is, 0..20; NaN until known
    model_digest: str  # SHA-256 of the model file; "" when no model spoke
    causes: tuple[str, ...] = ()  # series that surprise most, most first

    def part(self) -> Part:
        """Which part of the ensemble carries this forecast."""
        return part_of(self.weight) if self.model_digest else "baseline"


def part_of(weight: Floats32) -> Part:
    """Which part carries what has these shares of the model."""
    if not weight.any():
        return "baseline"
    return "model" if (weight == 1).all() else "blend"


@dataclass(frozen=True, slots=True)
class Risk:
    """A foreseen trouble in words a person can check."""

    domain: str  # "memory", "cpu", "io"
    probability: float  # within horizon_s
    eta_s: float  # to the threshold; inf when none is in sight
    horizon_s: float
    unit: str  # cgroup, disk or process that contributes most; "" when unknown
    cause: str  # one sentence
    evidence: Mapping[str, float] = field(default_factory=dict)  # series -> value it rests on


@dataclass(frozen=True, slots=True)
class SourceState:
    """How a source did on its last tick."""

    name: str
    state: Literal["ok", "absent", "failed"]
    series: int
    duration_s: float
    samples: int
    failures: int
    reason: str = ""
