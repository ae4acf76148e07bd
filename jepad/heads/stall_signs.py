"""What foretells a memory stall, read from the last minute: each sign between 0 (nothing of it)
and 1 (as bad as is told apart), free of this machine's size.

Owns: the signs, their scales and their words. A series that is missing or damaged gives 0: no
sign. Does not know: how much each sign weighs (stall_weights.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from jepad.heads.stall_past import Past

_KIB = 1024.0
_PAGE_KIB = 4.0
_SPAN_S = 10.0  # events are counted over so long
_PSI = "psi.memory.some.total"
FLOOR_SHARE = 0.02  # of all memory; below it the kernel works for every page


@dataclass(frozen=True, slots=True)
class Sign:
    """One reading and how bad it is."""

    series: str
    value: float  # 0..1
    reading: float
    words: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A window and the size of its machine."""

    past: Past
    total_kib: float
    floor_kib: float  # of MemFree

    def share(self, pages_per_s: float) -> float:
        """Pages a second as a share of all memory a second."""
        return pages_per_s * _PAGE_KIB / self.total_kib


def scene(past: Past, watermark_kib: float) -> Scene | None:
    """None where not even the machine's size can be told."""
    total = past.now("mem.MemTotal")
    if not total > 0:
        held = ("mem.MemFree", "mem.Cached", "mem.AnonPages", "mem.Slab")
        total = math.fsum(v for v in map(past.now, held) if v > 0)
    if not total > 0:
        return None
    return Scene(past, total, max(watermark_kib, FLOOR_SHARE * total))


def read_signs(scene: Scene) -> dict[str, Sign]:
    """Every sign by its name; those that can't be read are left out."""
    found = {name: read(scene) for name, read in SIGNS.items()}
    return {name: sign for name, sign in found.items() if sign is not None}


def _sign(series: str, value: float, reading: float, words: str) -> Sign | None:
    if not (math.isfinite(value) and math.isfinite(reading)):
        return None
    return Sign(series, min(max(value, 0.0), 1.0), reading, words)


def _free_low(scene: Scene) -> Sign | None:
    """How near MemFree is to its floor: 0 from sixteen times it, 1 at it."""
    level = scene.past.now("mem.MemFree")
    if not level >= 0:
        return None
    near = 1 - math.log2(max(level, 1.0) / scene.floor_kib) / 4
    return _sign("mem.MemFree", near, level, f"MemFree is {_size(level)}")


def _taken(span_s: float, patience_s: float) -> Callable[[Scene], Sign | None]:
    """How soon MemFree is at its floor if it falls on, as far as programs take it: what fills
    with caches is given back. A fall too small to matter in half a minute counts as much less."""

    def read(scene: Scene) -> Sign | None:
        past = scene.past
        level, slope = past.now("mem.MemFree"), past.slope("mem.MemFree", span_s)
        if not slope < 0:
            return _sign("mem.MemFree", 0.0 * slope, level, "MemFree does not fall")
        eta = max(level - scene.floor_kib, 0.0) / -slope
        gone = (-past.slope("mem.MemAvailable", span_s), past.slope("mem.AnonPages", span_s))
        known = [taken / -slope for taken in gone if math.isfinite(taken)]
        programs = min(max([*known, 0.0]), 1.0) if known else 1.0
        value = min(-slope * 30.0 / scene.floor_kib, 1.0) * math.exp(-eta / patience_s) * programs
        words = f"MemFree falls by {_size(-slope)}/s, {eta:.0f} s to its floor"
        return _sign("mem.MemFree per s", value, slope, words)

    return read


def _events(series: str, words: str, most: float) -> Callable[[Scene], Sign | None]:
    """Pages a second, on a log scale up to the share of all memory a second that is `most`."""

    def read(scene: Scene) -> Sign | None:
        rate = scene.past.grown(series, _SPAN_S)
        value = _log(scene.share(rate), most)
        return _sign(f"{series} per s", value, rate, f"{words} {_size(rate * _PAGE_KIB)}/s")

    return read


def _worst(*reads: Callable[[Scene], Sign | None]) -> Callable[[Scene], Sign | None]:
    """The one that tells most of several that tell the same."""

    def read(scene: Scene) -> Sign | None:
        found = [sign for one in reads if (sign := one(scene)) is not None]
        return max(found, key=lambda sign: sign.value, default=None)

    return read


def _where_low(one: Callable[[Scene], Sign | None]) -> Callable[[Scene], Sign | None]:
    """A sign that says more where MemFree is low."""

    def read(scene: Scene) -> Sign | None:
        sign, low = one(scene), _free_low(scene)
        if sign is None or low is None:
            return None
        return _sign(sign.series, sign.value * low.value, sign.reading, sign.words)

    return read


def _count(series: str, words: str) -> Callable[[Scene], Sign | None]:
    """Events a second, on a log scale up to a hundred."""

    def read(scene: Scene) -> Sign | None:
        rate = scene.past.grown(series, _SPAN_S)
        return _sign(f"{series} per s", _log(rate, 100.0), rate, f"{rate:.1f} {words} a second")

    return read


def _pressure(scene: Scene) -> Sign | None:
    """Share of time stalled, on a log scale."""
    share = scene.past.grown(_PSI, _SPAN_S) / 1e6
    words = f"tasks waited for memory {share:.1%} of the last {_SPAN_S:.0f} s"
    return _sign(_PSI, _log(share, 0.05), share, words)


def _waiting(scene: Scene) -> Sign | None:
    """Pressure that alone is enough: nothing at half a percent of the last seconds, 1 from one
    percent on."""
    sign = _pressure(scene)
    return sign and _sign(sign.series, 200.0 * sign.reading - 1.0, sign.reading, sign.words)


def _swap_fills(scene: Scene) -> Sign | None:
    """Swap that fills, on a scale up to all memory in five minutes."""
    slope = scene.past.slope("mem.SwapFree", 30.0)
    words = f"free swap falls by {_size(-slope)}/s"
    return _sign("mem.SwapFree per s", -slope * 300.0 / scene.total_kib, slope, words)


def _log(value: float, most: float) -> float:
    """0 at 0, 1 at `most`, by decades below it (three of them count)."""
    if not value >= 0:
        return math.nan
    return math.log1p(1000.0 * min(value / most, 1.0)) / math.log1p(1000.0)


def _size(kib: float) -> str:
    return f"{kib / _KIB:,.1f} MiB"


ALONE = "waiting"  # enough for an alarm by itself, and not fitted
_activate = _events("vm.workingset_activate_file", "caches in use come back:", 0.03)

SIGNS: dict[str, Callable[[Scene], Sign | None]] = {
    "free_low": _free_low,
    "taken_10": _taken(10.0, 20.0),
    "taken_30": _taken(30.0, 30.0),
    "reclaim": _worst(
        _events("vm.pgscan_direct", "tasks scan for pages themselves:", 0.03),
        _count("vm.allocstall_movable", "allocations stall"),
        _count("vm.allocstall_normal", "allocations stall"),
        _count("vm.compact_stall", "allocations wait for compaction"),
    ),
    "kswapd": _events("vm.pgscan_kswapd", "kswapd scans", 0.1),
    "swap": _worst(
        _events("vm.pswpout", "swapped out:", 0.03),
        _events("vm.workingset_refault_anon", "swapped in again:", 0.03),
        _swap_fills,
    ),
    "refault": _events("vm.workingset_refault_file", "dropped caches come back:", 0.1),
    "activate": _activate,
    "psi": _pressure,
    "low_activate": _where_low(_activate),
    "low_psi": _where_low(_pressure),
    ALONE: _waiting,
}
