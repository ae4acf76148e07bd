"""On which device a model goes.

Owns: the choice: accelerators first, most free memory, CPU when nothing else can.
Does not know: how devices are found, how a model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from jepad.errors import SettingError, TooLarge

CPU, AUTO = "cpu", "auto"
#: Their nodes; torch would tell more, for seconds and 220 MB.
GPUS = "/dev/nvidia[0-9]*"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Device:
    """What a model can be put on."""

    name: str  # "cpu", "cuda:0", ...
    free_bytes: int
    total_bytes: int


def choose(devices: Sequence[Device], need: Callable[[Device], int], asked: str = AUTO) -> Device:
    """The device with the most free memory that has what is needed there; the CPU when no other.

    `asked` names one and leaves no choice. SettingError: it is not here; TooLarge: no device has
    the memory; both say what there is.
    """
    if asked != AUTO:
        named = [d for d in devices if d.name == asked]
        if not named:
            have = ", ".join(d.name for d in devices)
            raise SettingError(f"no device {asked!r} here (there are: {have})")
        devices = named
    ranked = sorted(devices, key=lambda d: (d.name == CPU, -d.free_bytes))
    for device in ranked:
        if need(device) <= device.free_bytes:
            return device
    said = ", ".join(
        f"{d.name} has {megabytes(d.free_bytes)} free and {megabytes(need(d))} are needed"
        for d in ranked
    )
    raise TooLarge(f"no device has the memory: {said}; use a smaller model or int8 weights")


def least_loaded(places: Iterable[T], load: Callable[[T], tuple[int, int]]) -> T:
    """Where a call goes: fewest that wait, then the most free memory. `load`: (waiting, free)."""

    def rank(place: T) -> tuple[int, int]:
        waiting, free = load(place)
        return waiting, -free

    return min(places, key=rank)


def megabytes(count: int) -> str:
    """In words."""
    return f"{count / 1e6:,.0f} MB"


def cpu(meminfo: str = "/proc/meminfo") -> Device:
    """This machine's memory as the kernel says it."""
    with open(meminfo) as file:
        told = dict(line.split(":", 1) for line in file)
    free, total = (int(told[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    return Device(CPU, free, total)
