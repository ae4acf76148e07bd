"""How warm the machine is and how fast its fans turn.

Owns: /sys/class/hwmon and /sys/class/thermal. Does not know: GPUs (they show their own).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import names_in, read_each, scaled, text, word

_SENSORS = 32
#: What a chip's file is called, and the series it becomes: prefix, unit, scale of the raw number.
_KINDS = (
    (re.compile(r"(temp\d+)_input"), "temp", "degC", 1e-3),
    (re.compile(r"(fan\d+)_input"), "fan", "rpm", 1.0),
    (re.compile(r"(power\d+)_(?:input|average)"), "power", "W", 1e-6),
)
_GPU_CHIPS = frozenset({"amdgpu", "radeon", "nouveau", "i915", "xe"})


class Thermal:
    """Temperatures, fans and power sensors of the board; thermal zones no chip shows already."""

    name = "thermal"

    def __init__(self, roots: Roots) -> None:
        """Name the class directories."""
        self._hwmon = f"{roots.sys}/class/hwmon"
        self._zones = f"{roots.sys}/class/thermal"
        self._readers: dict[str, Callable[[], float]] = {}

    def describe(self) -> tuple[Series, ...]:
        """Sensors there are now; absent in most virtual machines."""
        series: list[Series] = []
        self._readers = {}
        for found, reader in (*self._chips(), *self._thermal_zones()):
            if found.name not in self._readers and len(series) < _SENSORS:
                self._readers[found.name] = reader
                series.append(found)
        return tuple(series)

    def _chips(self) -> Iterator[tuple[Series, Callable[[], float]]]:
        chips = {entry: text(f"{self._hwmon}/{entry}/name") for entry in names_in(self._hwmon)}
        names = list(chips.values())
        for entry, chip in chips.items():
            if chip in _GPU_CHIPS:
                continue
            path = f"{self._hwmon}/{entry}"
            name = chip or entry
            if names.count(chip) > 1:
                # hwmon numbers change from boot to boot; the device below keeps its name.
                name = f"{name}-{os.path.basename(os.path.realpath(f'{path}/device'))}"
            yield from _sensors(path, name)

    def _thermal_zones(self) -> Iterator[tuple[Series, Callable[[], float]]]:
        shown = {text(f"{self._hwmon}/{entry}/name") for entry in names_in(self._hwmon)}
        for entry in names_in(self._zones):
            kind = text(f"{self._zones}/{entry}/type")
            # The kernel shows most zones as a chip too, with - made _.
            if entry.startswith("thermal_zone") and kind.replace("-", "_") not in shown:
                name = f"temp.{entry}.{word(kind)}"
                yield Series(name, "degC", "gauge"), scaled(f"{self._zones}/{entry}/temp", 1e-3)

    def read(self) -> dict[str, float]:
        """Readings now; a sensor whose device sleeps is left out."""
        return read_each(self._readers)


def _sensors(path: str, chip: str) -> Iterator[tuple[Series, Callable[[], float]]]:
    for file in names_in(path):
        for pattern, prefix, unit, scale in _KINDS:
            match = pattern.fullmatch(file)
            if match:
                label = text(f"{path}/{match[1]}_label") or match[1]
                series = Series(f"{prefix}.{word(chip)}.{word(label)}", unit, "gauge")
                yield series, scaled(f"{path}/{file}", scale)
