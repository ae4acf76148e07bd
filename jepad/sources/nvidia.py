"""NVIDIA cards, asked through NVML.

Owns: the NVML session. The library is loaded only where the driver left its device or its proc
directory. Does not know: other vendors' cards (drm.py).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import PartlyRead

_CARDS = 8
_UNITS = {"util": "%", "mem": "B", "temp": "degC", "power": "W"}


class Nvidia:
    """Use, memory, temperature and power of each card."""

    name = "nvidia"

    def __init__(self, roots: Roots) -> None:
        """Name what a loaded driver leaves behind."""
        self._signs = (f"{roots.dev}/nvidiactl", f"{roots.proc}/driver/nvidia")
        self._nvml: ModuleType | None = None
        self._readers: dict[str, Callable[[], float]] = {}

    def describe(self) -> tuple[Series, ...]:
        """Cards there are now; absent without driver or library."""
        self._readers = {}
        if not any(os.path.exists(sign) for sign in self._signs):
            return ()
        nvml = importlib.import_module("pynvml")
        try:
            if self._nvml is None:
                nvml.nvmlInit()
            for i in range(min(nvml.nvmlDeviceGetCount(), _CARDS)):
                card = nvml.nvmlDeviceGetHandleByIndex(i)
                self._readers |= {f"gpu{i}.{what}": r for what, r in _card(nvml, card).items()}
        except (nvml.NVMLError_LibraryNotFound, nvml.NVMLError_DriverNotLoaded):
            return ()
        except nvml.NVMLError as error:
            raise SourceError(f"NVML: {error}") from error
        self._nvml = nvml
        return tuple(
            Series(name, _UNITS[name.partition(".")[2]], "gauge") for name in self._readers
        )

    def read(self) -> dict[str, float]:
        """Readings now; a card that fell off the bus fails the source, not the others."""
        values: dict[str, float] = {}
        reason = ""
        if self._nvml is None:
            return values
        for name, reader in self._readers.items():
            try:
                values[name] = reader()
            except self._nvml.NVMLError_NotSupported:
                continue
            except self._nvml.NVMLError as error:
                reason = f"NVML: {name}: {error}"
        if reason:
            raise PartlyRead(reason, values)
        return values


def _card(nvml: ModuleType, card: Any) -> dict[str, Callable[[], float]]:
    """What this card can tell: boards without a fan or a power meter say NotSupported."""
    readers: dict[str, Callable[[], float]] = {
        "util": lambda: float(nvml.nvmlDeviceGetUtilizationRates(card).gpu),
        "mem": lambda: float(nvml.nvmlDeviceGetMemoryInfo(card).used),
        "temp": lambda: float(nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)),
        "power": lambda: nvml.nvmlDeviceGetPowerUsage(card) * 1e-3,
    }
    return {what: read for what, read in readers.items() if _supported(nvml, read)}


def _supported(nvml: ModuleType, read: Callable[[], float]) -> bool:
    try:
        read()
    except nvml.NVMLError_NotSupported:
        return False
    return True
