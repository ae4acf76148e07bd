"""From the last minute of telemetry and a forecast to a risk a person can check.

Owns: the stall that is there, the stall read from forecast quantiles, the words of its cause.
Does not know: what foretells a memory stall (stall.py), hysteresis, who is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from jepad.heads import stall
from jepad.heads.stall import Ahead, Grower
from jepad.heads.stall_past import Past
from jepad.records import Forecast, Risk, Window

__all__ = ["Grower", "Limits", "assess", "low_watermark_kib"]

_Z90 = 1.2816  # standard normal quantile of .9
_LEAST_SD = 0.02  # of a share of time: no forecast of a stall is surer than this


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as trouble, and how far ahead it is told."""

    horizon_s: float = 60.0
    stall_share: float = 0.2  # PSI some, share of time
    watermark_kib: float = 0.0  # sum of the zones' low watermarks, /proc/zoneinfo


def low_watermark_kib(zoneinfo: str, page_kib: int = 4) -> float:
    """Sum of the `low` watermarks of /proc/zoneinfo, in KiB (mm/vmstat.c, zoneinfo_show_print)."""
    words = [line.split() for line in zoneinfo.splitlines()]
    return float(sum(int(w[1]) for w in words if len(w) == 2 and w[0] == "low") * page_kib)


def assess(
    window: Window, forecast: Forecast | None, limits: Limits, grower: Grower | None = None
) -> list[Risk]:
    """Risks of memory, io and cpu stalls within the horizon; a domain with no data is left out.

    `grower` is the task whose memory grows fastest, where tasks are known."""
    past = Past(window)
    if not len(past):
        return []
    ahead = Ahead(limits.horizon_s, limits.watermark_kib)
    memory = stall.memory(past, _stall("memory", past, forecast, limits), ahead)
    found = [stall.blamed(memory, past, grower) if memory else None]
    io = _stall("io", past, forecast, limits)
    found += [_on_disk(io, past) if io else None, _stall("cpu", past, forecast, limits)]
    return [risk for risk in found if risk is not None]


def _on_disk(risk: Risk, past: Past) -> Risk:
    """The risk with the disk that was busiest lately."""
    busy = {
        name.split(".")[1]: past.grown(name) * 1e-3  # iot counts milliseconds
        for name in past.place
        if name.startswith("disk.") and name.endswith(".iot")
    }
    busy = {name: share for name, share in busy.items() if share > 0.01}  # NaN is not
    if not busy:
        return risk
    disk = max(busy, key=lambda name: busy[name])
    cause = f"{risk.cause}; {disk} was busy {min(busy[disk], 1.0):.0%} of that time"
    return replace(risk, unit=disk, cause=cause)


def _stall(domain: str, past: Past, forecast: Forecast | None, limits: Limits) -> Risk | None:
    """Probability that PSI `some` of the domain exceeds the stall share within the horizon."""
    name = f"psi.{domain}.some.total"
    now = past.grown(name) / 1e6  # PSI totals count microseconds
    ahead = _exceeds(forecast, name, limits) if forecast else None
    if math.isnan(now) and ahead is None:
        return None
    probability, eta = ahead or (0.0, math.inf)
    share = 0.0 if math.isnan(now) else now
    if share >= limits.stall_share:
        probability, eta = 1.0, 0.0
    seconds = -float(past.t_s[past.rows()][0])
    cause = f"tasks stalled on {domain} {share:.0%} of the last {seconds:.0f} s"
    if ahead and eta:
        cause += f"; forecast: {ahead[0]:.0%} to pass {limits.stall_share:.0%}"
    return Risk(domain, probability, eta, limits.horizon_s, "", cause, {name: share})


def _exceeds(forecast: Forecast, name: str, limits: Limits) -> tuple[float, float] | None:
    """(probability, first horizon where it is likelier than not) from p50 and p90."""
    names = [s.name for s in forecast.series]
    if name not in names:
        return None
    row = forecast.quantiles[names.index(name)] / 1e6  # PSI totals are in us: share of a second
    best, eta = 0.0, math.inf
    for horizon, (_, p50, p90) in zip(forecast.horizons_s, row, strict=True):
        if horizon > limits.horizon_s * 1.1:
            break
        sd = max(float(p90 - p50) / _Z90, _LEAST_SD)
        p = 0.5 * math.erfc((limits.stall_share - float(p50)) / sd / math.sqrt(2))
        best = max(best, p)
        if p >= 0.5:
            eta = min(eta, horizon)
    return best, eta
