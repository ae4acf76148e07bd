"""How fast the cores run: a clock that falls under load is a machine that throttles.

Owns: /sys/devices/system/cpu/cpufreq. Does not know: why the clock changed.
"""

from __future__ import annotations

from collections.abc import Callable

from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import answers, names_in, read_each, scaled

_POLICIES = 8


class Frequency:
    """Clock of the first frequency domains, MHz."""

    name = "frequency"

    def __init__(self, roots: Roots) -> None:
        """Name the directory of the policies."""
        self._root = f"{roots.sys}/devices/system/cpu/cpufreq"
        self._readers: dict[str, Callable[[], float]] = {}

    def describe(self) -> tuple[Series, ...]:
        """Absent where the hypervisor or the firmware keeps the clock to itself."""
        self._readers = {}
        for policy in names_in(self._root):
            reader = scaled(f"{self._root}/{policy}/scaling_cur_freq", 1e-3)
            room = len(self._readers) < _POLICIES
            if room and policy.startswith("policy") and answers(reader):
                self._readers[f"freq.{policy}"] = reader
        return tuple(Series(name, "MHz", "gauge") for name in self._readers)

    def read(self) -> dict[str, float]:
        """Clocks now."""
        return read_each(self._readers)
