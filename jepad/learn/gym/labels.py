"""How the loads themselves fared: operations and the longest one, as columns `label.*`.

Owns: the lines the loads print, and the figures of a whole episode for the manifest.
Does not know: which loads there are; they are no telemetry, and no model may read them.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from jepad.records import Floats, Series
from jepad.sources.traces import Trace

#: A host stalls when tasks wait for memory more than this share of the time.
_STALL = 0.05
#: Once a second pgbench tells transactions per second and their mean latency in ms.
_PROGRESS = re.compile(rb"progress: [\d.]+ s, ([\d.]+) tps, lat ([\d.]+) ms")


@dataclass(slots=True)
class _Told:
    """What one load said since the last row."""

    fd: int
    rest: bytes = b""
    ops: float = 0.0
    worst_us: float = np.nan

    def listen(self) -> None:
        """Take in the lines there are; half a line waits for its other half."""
        self.worst_us = np.nan
        data = b""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.fd, 65536):
                data += part
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        pgbench = _PROGRESS.match(line)
        ops, _, worst = line.partition(b" ")
        if pgbench:
            self.ops += float(pgbench[1])
            worst = str(round(float(pgbench[2]) * 1000)).encode()
        elif ops.isdigit():
            self.ops = float(ops)
        if worst.isdigit():
            self.worst_us = max(float(worst), np.nan_to_num(self.worst_us))


class Labels:
    """A source of the loads' own figures: `label.<load>.ops`, `.worst_us`, and the services'
    `label.latency_us`, the longest answer of any since the row before."""

    name = "label"

    def __init__(self, told: Mapping[str, int], services: Collection[str]) -> None:
        """Descriptors the loads print to, by name, and which of them ask a service."""
        self._told = {name: _Told(fd) for name, fd in told.items()}
        self._services = [name for name in self._told if name in services]
        for fd in told.values():
            os.set_blocking(fd, False)

    def describe(self) -> tuple[Series, ...]:
        """Two series a load, and one for the services."""
        series = [Series("label.latency_us", "us", "gauge")]
        for name in self._told:
            series.append(Series(f"label.{name}.ops", "event", "counter"))
            series.append(Series(f"label.{name}.worst_us", "us", "gauge"))
        return tuple(series)

    def read(self) -> dict[str, float]:
        """What was said since the last row."""
        values: dict[str, float] = {}
        for name, told in self._told.items():
            told.listen()
            values[f"label.{name}.ops"] = told.ops
            values[f"label.{name}.worst_us"] = told.worst_us
        asked = [told.worst_us for name, told in self._told.items() if name in self._services]
        known = [us for us in asked if np.isfinite(us)]
        return {**values, "label.latency_us": max(known, default=np.nan)}


def summary(trace: Trace) -> dict[str, float]:
    """The episode in a few figures; what no row knew is left out."""
    at = {series.name: i for i, series in enumerate(trace.series)}
    # Of ten rows a second one: shares of a second compare, those of a tenth don't.
    seconds = np.arange(trace.t_s[0], trace.t_s[-1] + 0.1)
    rows = np.unique(np.searchsorted(trace.t_s, seconds - 0.1 * trace.dt_s))
    rows = rows[rows < len(trace.t_s)]
    step_s = np.diff(trace.t_s[rows])

    def column(name: str) -> Floats:
        return trace.values[:, at[name]] if name in at else np.full(len(trace.t_s), np.nan)

    def share(name: str) -> Floats:
        """Share of each second spent waiting."""
        return np.nan_to_num(np.diff(column(name)[rows]) * 1e-6 / step_s)

    groups = [
        name for name in at if name.startswith("cgroup.") and name.endswith("memory_pressure")
    ]
    host = share("psi.memory.some.total")
    latency = column("label.latency_us")
    latency = latency[np.isfinite(latency) & (latency > 0)]
    found = {
        "oom_kills": _last(column("label.oom_kills")),
        "psi_memory_max": 100 * _most([host]),
        "psi_memory_group_max": 100 * _most([share(name) for name in groups]),
        "stall_s": float(step_s[host > _STALL].sum()),
        "latency_us_p50": float(np.percentile(latency, 50)) if len(latency) else np.nan,
        "latency_us_p99": float(np.percentile(latency, 99)) if len(latency) else np.nan,
        "mem_available_min_mib": _least(column("mem.MemAvailable")) / 1024,
    }
    return {name: round(value, 2) for name, value in found.items() if np.isfinite(value)}


def _most(shares: list[Floats]) -> float:
    return max((float(share.max()) for share in shares if len(share)), default=np.nan)


def _least(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.min()) if len(known) else np.nan


def _last(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else np.nan
