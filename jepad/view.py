"""A forecast as a person reads it: numbers with units, a table, one JSON shape.

Owns: the wording of values and the JSON of a forecast. Does not know where it came from.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # records import numpy, and jepactl predict has no other need of it
    from jepad.records import Forecast, Risk

#: Below this a risk is not worth a line.
WORTH_A_LINE = 0.05

_NOTHING = 1e-6  # of any unit here: rounding of the model's int8
_STEPS = ((1 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki"))
_SHARES = {"us/s": 1e-4, "ms/s": 1e-1, "tick/s": 1.0}  # to per cent of one core or of the time
_BYTES = {"B": 1.0, "KiB": 1024.0, "sector": 512.0, "page": float(os.sysconf("SC_PAGE_SIZE"))}
_WORDS = {"degC": "°C", "J/s": "W", "event/s": "/s", "packet/s": "packets/s"}


def quantity(value: float, unit: str) -> str:
    """A value in its natural unit: 3.2 GiB, 41 %, 1.5 MiB/s, 61 °C."""
    if not math.isfinite(value):
        return "—"
    if abs(value) < _NOTHING:
        value = 0.0
    if unit in _SHARES:
        return f"{value * _SHARES[unit]:.1f} %"
    base, per = (unit[:-2], "/s") if unit.endswith("/s") else (unit, "")
    if base in _BYTES:
        return _scaled(value * _BYTES[base]) + per
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {_WORDS.get(unit, unit)}".rstrip()


def _scaled(size: float) -> str:
    for step, name in _STEPS:
        if abs(size) >= step:
            return f"{size / step:.1f} {name}B"
    return f"{size:.0f} B"


def measured(number: float, suffix: str, unit: str) -> float | None:
    """What a person means by a number, in a series' `unit`: 4 GiB, 20 %; None: not of this unit."""
    if not suffix or suffix == unit:
        return number
    if suffix == "%" and unit in _SHARES:
        return number / _SHARES[unit]
    base, per = (unit[:-2], "/s") if unit.endswith("/s") else (unit, "")
    if base not in _BYTES or suffix.endswith("/s") != bool(per):
        return None
    sizes = {f"{name}B": step for step, name in _STEPS} | {"B": 1}
    size = sizes.get(suffix.removesuffix("/s"))
    return None if size is None else number * size / _BYTES[base]


def span(seconds: float) -> str:
    """A horizon or an ETA: 4s, 2m40s, 3h, —."""
    if not math.isfinite(seconds):
        return "—"
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m" + (f"{rest}s" if rest else "")
    return f"{minutes // 60}h" + (f"{minutes % 60}m" if minutes % 60 else "")


def forecast_json(forecast: Forecast, now: Mapping[str, float]) -> list[dict[str, object]]:
    """One object a series: name, unit, now, and p10/p50/p90 a horizon; NaN is null."""
    return [
        {
            "series": series.name,
            "unit": series.unit,
            "now": finite(now.get(series.name, math.nan)),
            "model_weight": [finite(w) for w in forecast.weight[c]],
            "horizons": [
                {"horizon_s": h, **{k: finite(v) for k, v in zip(_COLUMNS, row, strict=True)}}
                for h, row in zip(forecast.horizons_s, forecast.quantiles[c], strict=True)
            ],
        }
        for c, series in enumerate(forecast.series)
    ]


_COLUMNS = ("p10", "p50", "p90")


def risk_json(risk: Risk) -> dict[str, object]:
    """A risk as JSON; an ETA that is not in sight is null."""
    return {
        "domain": risk.domain,
        "probability": finite(risk.probability),
        "eta_s": finite(risk.eta_s),
        "horizon_s": risk.horizon_s,
        "unit": risk.unit,
        "cause": risk.cause,
        "evidence": {k: finite(v) for k, v in risk.evidence.items()},
    }


def finite(value: float) -> float | None:
    """The value rounded to 6 digits, or None where JSON has no word for it."""
    return float(f"{float(value):.6g}") if math.isfinite(value) else None


def table(forecast: Forecast, now: Mapping[str, float], picks: Sequence[int]) -> list[str]:
    """A line a series: now, then p50 (p10 … p90) at the chosen horizons, by their places."""
    head = f"{'series':<26} {'now':>10}"
    head += "".join(f"  {'in ' + span(forecast.horizons_s[h]):>32}" for h in picks)
    return [head, *(_row(forecast, c, now, picks) for c in range(len(forecast.series)))]


def _row(forecast: Forecast, c: int, now: Mapping[str, float], picks: Sequence[int]) -> str:
    series = forecast.series[c]
    line = f"{series.name[:26]:<26} {quantity(now.get(series.name, math.nan), series.unit):>10}"
    for h in picks:
        p10, p50, p90 = (quantity(float(q), series.unit) for q in forecast.quantiles[c, h])
        line += f"  {f'{p50} ({p10} … {p90})':>32}"
    return line


def risk_line(risk: Risk) -> str:
    """One sentence: domain, probability, ETA, unit, cause."""
    eta = f" in {span(risk.eta_s)}" if math.isfinite(risk.eta_s) else ""
    unit = f" [{risk.unit}]" if risk.unit else ""
    return f"{risk.domain} {risk.probability:.0%}{eta}{unit}: {risk.cause}"
