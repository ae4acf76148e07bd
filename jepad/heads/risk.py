"""From the last minute of telemetry and a forecast to a risk a person can check.

Owns: the time-to-watermark rule for memory, the stall probability read from forecast quantiles,
and the words of the cause. Does not know: hysteresis, who is told, what is done about it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jepad.records import GAP, Floats, Forecast, Risk, Window

_Z90 = 1.2816  # standard normal quantile of .9
_KIB = 1024.0
_FLOOR_SHARE = 0.02  # of all memory; below it the kernel works for every page
_LEAST_SD = 0.02  # of a share of time: no forecast of a stall is surer than this
_MENTIONED = 64 * 1024.0  # bytes/s; slower growth explains nothing


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as trouble, and how far ahead it is told."""

    horizon_s: float = 60.0
    stall_share: float = 0.2  # PSI some, share of time
    watermark_kib: float = 0.0  # sum of the zones' low watermarks, /proc/zoneinfo


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through the newest seconds of one series, and how far to trust it."""

    now: float
    slope: float  # per second
    sd: float  # of the slope


@dataclass(frozen=True, slots=True)
class Grower:
    """A task that takes memory."""

    name: str  # "firefox[1234]"
    unit: str  # its cgroup; "" when unknown
    bytes_per_s: float


def low_watermark_kib(zoneinfo: str, page_kib: int = 4) -> float:
    """Sum of the `low` watermarks of /proc/zoneinfo, in KiB (mm/vmstat.c, zoneinfo_show_print)."""
    words = [line.split() for line in zoneinfo.splitlines()]
    return float(sum(int(w[1]) for w in words if len(w) == 2 and w[0] == "low") * page_kib)


def trend(t_s: Floats, values: Floats, span_s: float = 10.0) -> Trend | None:
    """Least squares over the last `span_s`; its sd also covers the disagreement with the
    whole window, so that a short burst is not extrapolated as if it were a leak."""
    seen = np.isfinite(values)
    t, x = t_s[seen], values[seen]
    if len(t) < 5:
        return None
    near = t >= t[-1] - max(span_s, 5 * float(np.median(np.diff(t))))
    if near.sum() < 5:
        return None
    slope, error = _line(t[near], x[near])
    whole, _ = _line(t, x)
    return Trend(float(x[-1]), slope, max(error, abs(slope - whole), 1e-9))


def assess(
    window: Window, forecast: Forecast | None, limits: Limits, grower: Grower | None = None
) -> list[Risk]:
    """Risks of memory, io and cpu stalls within the horizon; a domain with no data is left out.

    `grower` is the task whose memory grows fastest, where tasks are known. Only what came since
    the last gap counts: nothing is averaged over a suspend or a restart."""
    window = _since_gap(window)
    if not len(window.t_ns):
        return []
    memory = _memory(window, forecast, limits)
    found = [_blamed(memory, window, grower) if memory else None]
    io = _stall("io", window, forecast, limits)
    found += [_on_disk(io, window) if io else None, _stall("cpu", window, forecast, limits)]
    return [risk for risk in found if risk is not None]


def _memory(window: Window, forecast: Forecast | None, limits: Limits) -> Risk | None:
    stall = _stall("memory", window, forecast, limits)
    short = _shortage(window, limits)
    if stall is None or short is None:
        return stall or short
    return stall if stall.probability >= short.probability else short


def _shortage(window: Window, limits: Limits) -> Risk | None:
    """Time until what can be had without a stall is used up: MemAvailable against the low
    watermark, and MemFree too once swap or direct reclaim shows that caches no longer give way."""
    t_s = _seconds(window)
    key = "mem.MemFree" if _reclaim_strained(window) else "mem.MemAvailable"
    values, total = _column(window, key), _column(window, "mem.MemTotal")
    line = trend(t_s, values) if values is not None else None
    if line is None or total is None:
        return None
    share = _FLOOR_SHARE * float(np.nanmax(total))
    floor, named = max((limits.watermark_kib, "the low watermark"), (share, "2 % of all memory"))
    room = max(line.now - floor, 0.0)
    eta = room / -line.slope if line.slope < 0 else math.inf
    z = (-room / limits.horizon_s - line.slope) / line.sd
    falls = line.slope < -2 * line.sd and eta <= 4 * limits.horizon_s
    probability = _normal(z) if falls else 0.0
    what = key.removeprefix("mem.")
    cause = (
        f"{what} is {line.now / _KIB:,.0f} MiB and changes by {line.slope / _KIB:+,.1f} MiB/s"
        f"; {named} is {floor / _KIB:,.0f} MiB"
    )
    evidence = {key: line.now, f"{key} per s": line.slope}
    return Risk("memory", probability, eta, limits.horizon_s, "", cause, evidence)


def _blamed(risk: Risk, window: Window, grower: Grower | None) -> Risk:
    """The risk with the unit that takes the memory: the fastest growing task's, else cgroup."""
    unit, growth = _fastest_growing(window, _seconds(window))
    name = unit
    if grower and grower.bytes_per_s > 0:
        unit, name, growth = grower.unit or unit or grower.name, grower.name, grower.bytes_per_s
    if growth < _MENTIONED:
        return risk
    cause = f"{risk.cause}; {name} grows by {growth / _KIB / _KIB:,.1f} MiB/s"
    return replace(risk, unit=unit, cause=cause)


def _on_disk(risk: Risk, window: Window) -> Risk:
    """The risk with the disk that was busiest lately."""
    busy = {
        s.name.split(".")[1]: _grown(window, i) * 1e-3  # iot counts milliseconds
        for i, s in enumerate(window.series)
        if s.name.startswith("disk.") and s.name.endswith(".iot")
    }
    busy = {name: share for name, share in busy.items() if share > 0.01}  # NaN is not
    if not busy:
        return risk
    disk = max(busy, key=lambda name: busy[name])
    cause = f"{risk.cause}; {disk} was busy {min(busy[disk], 1.0):.0%} of that time"
    return replace(risk, unit=disk, cause=cause)


def _stall(domain: str, window: Window, forecast: Forecast | None, limits: Limits) -> Risk | None:
    """Probability that PSI `some` of the domain exceeds the stall share within the horizon."""
    name = f"psi.{domain}.some.total"
    now = _share_now(window, name)
    ahead = _exceeds(forecast, name, limits) if forecast else None
    if now is None and ahead is None:
        return None
    probability, eta = ahead or (0.0, math.inf)
    share = now or 0.0
    if share >= limits.stall_share:
        probability, eta = 1.0, 0.0
    seconds = -float(_seconds(window)[_lately(window)][0])
    cause = f"tasks stalled on {domain} {share:.0%} of the last {seconds:.0f} s"
    if ahead and eta:
        cause += f"; forecast: {ahead[0]:.0%} to pass {limits.stall_share:.0%}"
    evidence = {name: share}
    return Risk(domain, probability, eta, limits.horizon_s, "", cause, evidence)


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
        p = _normal((float(p50) - limits.stall_share) / sd)
        best = max(best, p)
        if p >= 0.5:
            eta = min(eta, horizon)
    return best, eta


def _share_now(window: Window, name: str) -> float | None:
    """Share of the last seconds spent stalled; None when unknown."""
    for i, series in enumerate(window.series):
        if series.name == name:
            share = _grown(window, i) / 1e6  # PSI totals count microseconds
            return share if math.isfinite(share) else None
    return None


def _since_gap(window: Window) -> Window:
    gaps = np.flatnonzero(window.flags & GAP)
    at = int(gaps[-1]) if len(gaps) else 0
    cut = window.t_ns[at:], window.values[at:], window.flags[at:]
    return Window(window.series, *cut, window.last_n)


def _lately(window: Window) -> slice:
    """Rows of the last 5 s, or the last two where they are farther apart."""
    t_s = _seconds(window)
    return slice(min(int(np.searchsorted(t_s, -5.05)), max(len(t_s) - 2, 0)), None)


def _grown(window: Window, column: int) -> float:
    """Growth per second of a counter lately; NaN when unknown or reset."""
    rows = _lately(window)
    part, t_s = window.values[rows, column], _seconds(window)[rows]
    if len(part) < 2 or t_s[-1] <= t_s[0] or not part[-1] >= part[0]:
        return math.nan
    return float((part[-1] - part[0]) / (t_s[-1] - t_s[0]))


def _reclaim_strained(window: Window) -> bool:
    """Direct reclaim or swapping goes on: the caches no longer give way for free."""
    signs = ("vm.pgscan_direct", "vm.pswpout", "vm.allocstall_normal")
    return any(_grown(window, i) > 0 for i, s in enumerate(window.series) if s.name in signs)


def _fastest_growing(window: Window, t_s: Floats) -> tuple[str, float]:
    """(cgroup, bytes/s) that gained most over the window; the deepest of equals."""
    best = ("", 0.0)
    span = float(t_s[-1] - t_s[0]) if len(t_s) > 1 else 0.0
    for i, series in enumerate(window.series):
        name = series.name
        if not (name.startswith("cgroup.") and name.endswith(".memory_current")) or not span:
            continue
        gain = float(window.values[-1, i] - window.values[0, i]) / span
        path = name.removeprefix("cgroup.").removesuffix(".memory_current")
        deeper = path.startswith(best[0]) and gain >= 0.9 * best[1]
        if np.isfinite(gain) and gain > 0 and (gain > best[1] or deeper):
            best = (path, gain)
    return best


def _column(window: Window, name: str) -> Floats | None:
    for i, series in enumerate(window.series):
        if series.name == name:
            column: Floats = window.values[:, i]
            return column if np.isfinite(column).any() else None
    return None


def _seconds(window: Window) -> Floats:
    out: Floats = (window.t_ns - window.t_ns[-1]).astype(np.float64) / 1e9
    return out


def _line(t: Floats, x: Floats) -> tuple[float, float]:
    """Slope and its standard error."""
    tc, xc = t - t.mean(), x - x.mean()
    ss = float(tc @ tc)
    if ss == 0:
        return 0.0, math.inf
    slope = float(tc @ xc) / ss
    residual: NDArray[np.float64] = xc - slope * tc
    return slope, math.sqrt(float(residual @ residual) / max(len(t) - 2, 1) / ss)


def _normal(z: float) -> float:
    """Standard normal distribution function."""
    return 0.5 * math.erfc(-z / math.sqrt(2))
