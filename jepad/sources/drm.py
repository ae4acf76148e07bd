"""AMD, Intel and other cards, as their kernel drivers show them.

Owns: /sys/class/drm/card*, and each task's own account of its use (fdinfo) where a driver shows
no busy percentage itself. Does not know: NVIDIA's driver (nvidia.py).
"""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Callable

from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.source import names_in, read_each, scaled, text

_CARDS = 4
#: Files of a card, the first pattern that is there, and the series: unit and scale.
_FILES = {
    "util": ("%", 1.0, ("device/gpu_busy_percent",)),
    "mem": ("B", 1.0, ("device/mem_info_vram_used",)),
    "temp": ("degC", 1e-3, ("device/hwmon/hwmon*/temp1_input",)),
    "power": (
        "W",
        1e-6,
        ("device/hwmon/hwmon*/power1_average", "device/hwmon/hwmon*/power1_input"),
    ),
    "clock": ("MHz", 1.0, ("gt/gt0/rps_act_freq_mhz", "gt_act_freq_mhz")),
}
_NVIDIA = "0x10de"
#: Descriptors looked at in one scan: a server holds hundreds of thousands.
_SCANNED = 20_000
_ENGINE = re.compile(rb"^drm-engine-(?!capacity)([\w-]+):\s+(\d{1,20}) ns$", re.MULTILINE)
_CLIENT = re.compile(rb"^drm-client-id:\s+(\d{1,20})$", re.MULTILINE)
_DEVICE = re.compile(rb"^drm-pdev:\s+(\S+)$", re.MULTILINE)


class Drm:
    """Use, memory, temperature, power and clock of each card."""

    name = "drm"

    def __init__(self, roots: Roots) -> None:
        """Name the class directory."""
        self._root = f"{roots.sys}/class/drm"
        self._proc = roots.proc
        self._readers: dict[str, Callable[[], float]] = {}
        self._shared: dict[str, str] = {}
        self._clients = Clients(roots.proc)

    def describe(self) -> tuple[Series, ...]:
        """Cards there are now; connectors (card0-HDMI-A-1) are not cards."""
        series: list[Series] = []
        self._readers, self._shared = {}, {}
        cards = [c for c in names_in(self._root) if re.fullmatch(r"card\d{1,3}", c)]
        for card in cards[:_CARDS]:
            path = f"{self._root}/{card}"
            if text(f"{path}/device/vendor") == _NVIDIA:
                continue
            for what, (unit, scale, patterns) in _FILES.items():
                found = [f for p in patterns for f in sorted(glob.glob(p, root_dir=path))]
                name = f"gpu.{card}.{what}"
                if found:
                    self._readers[name] = scaled(f"{path}/{found[0]}", scale)
                elif what == "util":
                    self._shared[os.path.basename(os.path.realpath(f"{path}/device"))] = name
                else:
                    continue
                series.append(Series(name, unit, "gauge"))
        return tuple(series)

    def read(self) -> dict[str, float]:
        """Readings now; a card that sleeps is left out and not woken."""
        values = read_each(self._readers)
        if self._shared:
            busy = self._clients.busy()
            values |= {name: busy.get(device, 0.0) for device, name in self._shared.items()}
        return values


class Clients:
    """Busy share of a card by what its users' descriptors say they had of its engines."""

    def __init__(self, proc: str) -> None:
        """Two scans make the first difference."""
        self._proc = proc
        self._before: dict[tuple[str, int, str], int] = {}
        self._at_s = 0.0

    def busy(self) -> dict[str, float]:
        """Per cent by PCI device since the scan before: that of its busiest engine."""
        now_s = time.monotonic()
        elapsed_ns = max(now_s - self._at_s, 1e-3) * 1e9
        now = self._scan()
        engines: dict[tuple[str, str], float] = {}
        for (device, client, engine), used in now.items():
            grown = used - self._before.get((device, client, engine), used)
            key = (device, engine)
            engines[key] = engines.get(key, 0.0) + max(grown, 0)
        self._before, self._at_s = now, now_s
        share: dict[str, float] = {}
        for (device, _), grown_ns in engines.items():
            share[device] = max(share.get(device, 0.0), min(100.0 * grown_ns / elapsed_ns, 100.0))
        return share

    def _scan(self) -> dict[tuple[str, int, str], int]:
        """Nanoseconds by (device, client, engine); a client shared by forks counts once."""
        used: dict[tuple[str, int, str], int] = {}
        left = _SCANNED
        for pid in filter(str.isdecimal, names_in(self._proc)):
            fds = names_in(f"{self._proc}/{pid}/fd")[:left]
            left -= len(fds)
            for fd in fds:
                if _is_card(f"{self._proc}/{pid}/fd/{fd}"):
                    used.update(_engines(f"{self._proc}/{pid}/fdinfo/{fd}"))
        return used


def _is_card(link: str) -> bool:
    try:
        return os.readlink(link).startswith("/dev/dri/")
    except OSError:
        return False


def _engines(path: str) -> dict[tuple[str, int, str], int]:
    data = text(path, 4096).encode()
    device, client = _DEVICE.search(data), _CLIENT.search(data)
    if not device or not client:
        return {}
    return {
        (device[1].decode("utf-8", "replace"), int(client[1]), engine.decode()): int(ns)
        for engine, ns in _ENGINE.findall(data)
    }
