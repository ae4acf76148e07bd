"""Energy the processor packages have used, as they count it themselves.

Owns: /sys/class/powercap, and the turns of its counters: energy_uj starts again at 0 past
max_energy_range_uj (every few minutes under load), so the turns are added here, where the range
is known, and what leaves this file only grows. Does not know: the rest of the machine's power.
"""

from __future__ import annotations

from collections.abc import Callable

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import names_in, read_each, scaled, text, word

_ZONES = 8


class Rapl:
    """Joules by zone; needs root, as energy_uj is hidden from others since PLATYPUS."""

    name = "rapl"

    def __init__(self, roots: Roots) -> None:
        """Name the class directory."""
        self._root = f"{roots.sys}/class/powercap"
        self._zones: dict[str, Callable[[], float]] = {}

    def describe(self) -> tuple[Series, ...]:
        """Zones that can be read now; a zone known before keeps its turns."""
        zones: dict[str, Callable[[], float]] = {}
        for entry in names_in(self._root):
            path = f"{self._root}/{entry}"
            # The mmio and psys views count the same energy a second time.
            if ":" not in entry or "mmio" in entry or len(zones) == _ZONES:
                continue
            name = f"power.{word(_zone_name(self._root, entry))}.energy"
            try:
                scaled(f"{path}/energy_uj")()
                zones[name] = self._zones.get(name) or Unwrapped(
                    scaled(f"{path}/energy_uj"), scaled(f"{path}/max_energy_range_uj")()
                )
            except SourceError:
                continue
        self._zones = zones
        return tuple(Series(name, "J", "counter") for name in zones)

    def read(self) -> dict[str, float]:
        """Joules since the first reading's own zero."""
        return read_each(self._zones)


class Unwrapped:
    """A counter in µJ that starts again at 0 past its range, as joules that only grow."""

    def __init__(self, raw: Callable[[], float], span: float) -> None:
        """`span` is the range; 0 when the zone doesn't tell."""
        self._raw = raw
        self._span = span
        self._last = 0.0
        self._turns = 0

    def __call__(self) -> float:
        """Joules now; two turns between readings can't be seen, but take minutes."""
        now = self._raw()
        if now < self._last:
            self._turns += 1
        self._last = now
        return (now + self._turns * self._span) * 1e-6


def _zone_name(root: str, entry: str) -> str:
    """`package-0`, and `package-0.dram` for a zone inside it."""
    name = text(f"{root}/{entry}/name") or entry
    parent = entry.rsplit(":", 1)[0]
    return f"{text(f'{root}/{parent}/name')}.{name}" if parent.count(":") else name
