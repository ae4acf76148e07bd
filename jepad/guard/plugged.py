"""Which cameras are plugged in, by what sysfs tells of them. No device is opened for it.

Owns: identity, which is place, product and serial number: another camera in the same socket, or
the same in another, is one that nobody knows. Does not know: who allowed it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from jepad.paths import Roots

CLASS = "class/video4linux"
MAX_TEXT = 256
MAX_DEVICES = 64
#: How far above a device its product may be told, as that of a USB device above its interface.
_LEVELS = 3


@dataclass(frozen=True, slots=True)
class Device:
    """One that pictures can be captured from."""

    node: str  # video0
    identity: str
    product: str


def plugged(roots: Roots) -> list[Device]:
    """Those there are now, by node."""
    try:
        nodes = sorted(os.listdir(f"{roots.sys}/{CLASS}"))
    except OSError:
        return []
    found = [device(roots, n) for n in nodes[:MAX_DEVICES] if n.startswith("video")]
    return [d for d in found if d is not None]


def anything(roots: Roots) -> bool:
    """Whether it is worth a closer look."""
    try:
        with os.scandir(f"{roots.sys}/{CLASS}") as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def device(roots: Roots, node: str) -> Device | None:
    """The device of a node; None for what is gone, or no camera: metadata, an output, a radio."""
    at = f"{roots.sys}/{CLASS}/{node}"
    if not os.path.lexists(at) or not _captures(roots, at):
        return None
    above = os.path.realpath(f"{at}/device")
    place = os.path.relpath(above, os.path.realpath(f"{roots.sys}/devices"))
    if place.startswith(".."):
        place = node  # nothing above it
    product = _text(f"{at}/name") or node
    index, serial = _text(f"{at}/index") or "0", _serial(above)
    words = (f"{place}:{index}", product, serial)
    return Device(node, "v4l2:" + "|".join(w.replace("|", "_") for w in words), product)


def _captures(roots: Roots, at: str) -> bool:
    """As udev found; without its word the first of a device's nodes is taken for the camera."""
    number = _text(f"{at}/dev")
    try:
        with open(f"{roots.run}/udev/data/c{number}", errors="replace") as file:
            told = [s for s in file if s.startswith("E:ID_V4L_CAPABILITIES=")]
    except OSError:
        told = []
    if told:
        return ":capture:" in told[0]
    return _text(f"{at}/index") in ("", "0")


def _serial(above: str) -> str:
    """Vendor, product and serial number, of the first above that has any."""
    for _ in range(_LEVELS):
        told = [_text(f"{above}/{name}") for name in ("idVendor", "idProduct", "serial")]
        if any(told):
            return "-".join(told)
        above = os.path.dirname(above)
    return ""


def _text(path: str) -> str:
    """A small file of the kernel's; what a device says of itself may hold anything."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_TEXT)
    except OSError:
        return ""
    text = raw.decode(errors="replace").strip()
    return "".join(c if c.isprintable() else "_" for c in text)
