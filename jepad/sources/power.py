"""Batteries and mains.

Owns: /sys/class/power_supply. Does not know: what uses the power (rapl.py, gpu sources).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import KernelFile, names_in, read_each, scaled, text, word

_SUPPLIES = 4


class Power:
    """Charge and draw of the machine's own batteries; those of mice and headsets are left out."""

    name = "power"

    def __init__(self, roots: Roots) -> None:
        """Name the class directory."""
        self._root = f"{roots.sys}/class/power_supply"
        self._readers: dict[str, Callable[[], float]] = {}

    def describe(self) -> tuple[Series, ...]:
        """Supplies plugged in now; absent in most servers."""
        series: list[Series] = []
        self._readers = {}
        entries = [e for e in names_in(self._root) if text(f"{self._root}/{e}/scope") != "Device"]
        for entry in entries[:_SUPPLIES]:
            path, name = f"{self._root}/{entry}", f"power.{word(entry)}"
            found = _battery(path) if text(f"{path}/type") == "Battery" else _mains(path)
            for what, (unit, reader) in found.items():
                self._readers[f"{name}.{what}"] = reader
                series.append(Series(f"{name}.{what}", unit, "gauge"))
        return tuple(series)

    def read(self) -> dict[str, float]:
        """Per cent, Wh, and W: above 0 when the battery gives, below when it takes."""
        return read_each(self._readers)


def _mains(path: str) -> dict[str, tuple[str, Callable[[], float]]]:
    has = os.path.exists(f"{path}/online")
    return {"online": ("", scaled(f"{path}/online"))} if has else {}


def _battery(path: str) -> dict[str, tuple[str, Callable[[], float]]]:
    found: dict[str, tuple[str, Callable[[], float]]] = {}
    if os.path.exists(f"{path}/capacity"):
        found["charge"] = ("%", scaled(f"{path}/capacity"))
    if os.path.exists(f"{path}/energy_now"):
        found["stored"] = ("Wh", scaled(f"{path}/energy_now", 1e-6))
    if os.path.exists(f"{path}/power_now"):
        found["draw"] = ("W", _signed(path, scaled(f"{path}/power_now", 1e-6)))
    elif os.path.exists(f"{path}/current_now") and os.path.exists(f"{path}/voltage_now"):
        found["draw"] = ("W", _signed(path, _product(path)))
    return found


def _product(path: str) -> Callable[[], float]:
    amps, volts = scaled(f"{path}/current_now", 1e-6), scaled(f"{path}/voltage_now", 1e-6)
    return lambda: amps() * volts()


def _signed(path: str, watts: Callable[[], float]) -> Callable[[], float]:
    """Drivers disagree on the sign of power_now; the status tells the direction."""
    status = KernelFile(f"{path}/status")
    return lambda: abs(watts()) * (-1.0 if status.read().startswith(b"Charging") else 1.0)
