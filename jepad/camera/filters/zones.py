"""Polygons as masks of pixels.

Owns: which pixels a zone touches, rather one too many; filling them.
Does not know who drew it, nor what is there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jepad.camera.filters.picture import FILL, Mask
from jepad.camera.settings import Zone
from jepad.camera.shot import Shot, Square
from jepad.errors import SettingError

Floats = npt.NDArray[np.float64]


class Zones:
    """Fills what the zones touch. SettingError if they touch nothing: that was not meant."""

    def __init__(self, zones: Sequence[Zone], size: int) -> None:
        if not zones:
            raise SettingError("the filter zones is asked for, and no zone is given")
        self.name = f"zones ({len(zones)})"
        self._mask = masked(zones, size)

    def __call__(self, _shot: Shot, pixels: Square) -> Square:
        """In place."""
        pixels[self._mask] = FILL
        return pixels


def masked(zones: Sequence[Zone], size: int) -> Mask:
    """[size, size], true in every pixel that a zone touches and in those next to it."""
    out = np.zeros((size, size), bool)
    for zone in zones:
        points = np.array(_corners(zone), np.float64) * size
        if np.ptp(points, axis=0).min() == 0:
            raise SettingError(f"zone {zone} covers nothing: give it height and width")
        out |= _grown(_inside(points, size) | _along(points, size))
    return out


def _corners(zone: Zone) -> Sequence[tuple[float, float]]:
    """A polygon's own, or the four of the rectangle that two points span."""
    if len(zone) != 2:
        return zone
    (left, top), (right, bottom) = zone
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _inside(points: Floats, size: int) -> Mask:
    """Pixels whose centre the polygon winds around: what crosses itself is inside as well."""
    at = np.arange(size) + 0.5
    across, down = at[None, :], at[:, None]
    winding = np.zeros((size, size), np.int32)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        side = (x1 - x0) * (down - y0) - (across - x0) * (y1 - y0)
        winding += (y0 <= down) & (y1 > down) & (side < 0)
        winding -= (y0 > down) & (y1 <= down) & (side > 0)
    out: Mask = winding != 0
    return out


def _along(points: Floats, size: int) -> Mask:
    """Pixels that an edge runs through, looked at every half pixel."""
    out = np.zeros((size, size), bool)
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        steps = int(np.ceil(2 * np.abs(end - start).max())) + 1
        line = start + (end - start) * np.linspace(0, 1, steps)[:, None]
        x, y = np.clip(line.astype(np.int64), 0, size - 1).T
        out[y, x] = True
    return out


def _grown(mask: Mask) -> Mask:
    """With every neighbour, of eight: resizing and coding bleed by a pixel."""
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    wide = out.copy()
    wide[:, 1:] |= out[:, :-1]
    wide[:, :-1] |= out[:, 1:]
    return wide
