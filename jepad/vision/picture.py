"""Pictures for people: PNG files, and a sheet of images, a heat map and curves.

Owns: colours, axes, the layout of a sheet. Does not know what is drawn, nor a model.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jepad.errors import NotFound, NotReady, SettingError

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Pixels = npt.NDArray[np.uint8]  # [H, W, 3], RGB
Floats = npt.NDArray[np.floating[Any]]

SIDE = 320  # of a panel's inside
LEFT, TOP, RIGHT, BOTTOM = 64, 34, 16, 40  # around it
INK, FAINT, PAPER, MARK = (30, 30, 30), (205, 205, 205), (255, 255, 255), (230, 60, 40)
#: Dark where the energy is low: from there it is read like a map of depths.
RAMP = np.array([[35, 20, 80], [50, 80, 160], [40, 150, 150], [120, 200, 100], [250, 235, 120]])
LINES = ((40, 90, 170), (215, 95, 30), (40, 140, 80), (150, 60, 150), (120, 120, 120))


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture, enlarged without smoothing; `path` are (x, y) in its pixels, in their order."""

    title: str
    pixels: Pixels
    path: Sequence[tuple[float, float]] = ()
    goal: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Landscape:
    """Values over two axes: values[i, j] is at the i-th of the second axis, j-th of the first."""

    title: str
    values: Floats
    names: tuple[str, str]
    low: tuple[float, float]
    high: tuple[float, float]
    mark: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Curves:
    """Lines over 0, 1, 2, …, each with its name; what is not finite is a gap."""

    title: str
    across: str
    lines: Sequence[tuple[str, Sequence[float]]]


Panel = Shown | Landscape | Curves


def write(path: str, pixels: Pixels) -> None:
    """A PNG file, whole or not at all. SettingError: no picture. NotFound: no place for it."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise SettingError(f"{pixels.dtype} {pixels.shape} is no picture: give uint8 [H, W, 3]")
    image = _pillow().fromarray(np.ascontiguousarray(pixels))
    part = f"{path}.{os.getpid()}.part"
    try:
        image.save(part, "PNG")
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise NotFound(f"{path}: can't be written: {error.strerror or error}") from error


def sheet(rows: Sequence[Sequence[Panel]]) -> Pixels:
    """All panels in rows: uint8 [H, W, 3]."""
    if not rows or not any(rows):
        raise SettingError("a sheet of no panels can't be drawn")
    wide, tall = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM
    out = _pillow().new("RGB", (wide * max(map(len, rows)), tall * len(rows)), PAPER)
    for r, row in enumerate(rows):
        for c, panel in enumerate(row):
            out.paste(_drawn(panel), (c * wide, r * tall))
    return np.asarray(out)


def _drawn(panel: Panel) -> Image.Image:
    from PIL import ImageDraw

    out: Image.Image = _pillow().new("RGB", (LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM), PAPER)
    draw = ImageDraw.Draw(out)
    draw.text((LEFT, TOP - 20), panel.title, INK, font=_font())
    match panel:
        case Shown():
            _show(out, draw, panel)
        case Landscape():
            _map(out, draw, panel)
        case Curves():
            _curves(draw, panel)
    return out


def _show(out: Image.Image, draw: ImageDraw.ImageDraw, panel: Shown) -> None:
    pillow = _pillow()
    height, width = panel.pixels.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    image = pillow.fromarray(np.ascontiguousarray(panel.pixels))
    out.paste(image.resize(size, pillow.Resampling.NEAREST), (LEFT, TOP))
    points = [(LEFT + (x + 0.5) * scale, TOP + (y + 0.5) * scale) for x, y in panel.path]
    if len(points) > 1:
        draw.line(points, MARK, 2)
    for x, y in points:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), MARK)
    if panel.goal is not None:
        x, y = (at + (n + 0.5) * scale for at, n in zip((LEFT, TOP), panel.goal, strict=True))
        for reach, colour in ((9, INK), (11, PAPER)):  # one of them is seen on any picture
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=colour, width=2)


def _map(out: Image.Image, draw: ImageDraw.ImageDraw, panel: Landscape) -> None:
    pillow = _pillow()
    # The second axis grows upwards, as in any plot.
    image = pillow.fromarray(_coloured(np.asarray(panel.values, np.float64)[::-1]))
    out.paste(image.resize((SIDE, SIDE), pillow.Resampling.NEAREST), (LEFT, TOP))
    draw.rectangle((LEFT, TOP, LEFT + SIDE, TOP + SIDE), outline=INK)
    _scale(draw, (panel.low, panel.high), panel.names[0])
    draw.text((4, TOP + SIDE / 2), panel.names[1], INK, font=_font())
    finite = panel.values[np.isfinite(panel.values)]
    if finite.size:
        span = f"{finite.min():.3g} dark … {finite.max():.3g} light"
        draw.text((LEFT + SIDE, TOP - 20), span, INK, font=_font(), anchor="ra")
    if panel.mark is not None:
        parts = [
            (at - low) / (high - low or 1)
            for at, low, high in zip(panel.mark, panel.low, panel.high, strict=True)
        ]
        x, y = LEFT + parts[0] * SIDE, TOP + (1 - parts[1]) * SIDE
        draw.line((x - 7, y, x + 7, y), MARK, 3)
        draw.line((x, y - 7, x, y + 7), MARK, 3)


def _curves(draw: ImageDraw.ImageDraw, panel: Curves) -> None:
    values = [np.asarray(line, np.float64) for _, line in panel.lines]
    finite = np.concatenate([v[np.isfinite(v)] for v in values] or [np.empty(0)])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    high = high if high > low else low + 1
    last = max([len(v) - 1 for v in values] + [1])
    for part in (0.25, 0.5, 0.75):
        draw.line((LEFT, TOP + part * SIDE, LEFT + SIDE, TOP + part * SIDE), FAINT)
    draw.rectangle((LEFT, TOP, LEFT + SIDE, TOP + SIDE), outline=INK)
    _scale(draw, ((0, low), (last, high)), panel.across)
    for i, ((name, _), line) in enumerate(zip(panel.lines, values, strict=True)):
        colour = LINES[i % len(LINES)]
        places = [
            (LEFT + n / last * SIDE, TOP + (high - v) / (high - low) * SIDE)
            for n, v in enumerate(line.tolist())
            if np.isfinite(v)
        ]
        if len(places) > 1:
            draw.line(places, colour, 2)
        for x, y in places:
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), colour)
        draw.text((LEFT + SIDE - 8, TOP + 6 + 16 * i), name, colour, font=_font(), anchor="ra")


def _scale(
    draw: ImageDraw.ImageDraw, ends: tuple[tuple[float, float], tuple[float, float]], across: str
) -> None:
    """Figures at the ends of both axes, and the name of the one across."""
    (left, bottom), (right, top) = ends
    font, below = _font(), TOP + SIDE + 5
    draw.text((LEFT, below), f"{left:.3g}", INK, font=font)
    draw.text((LEFT + SIDE, below), f"{right:.3g}", INK, font=font, anchor="ra")
    draw.text((LEFT + SIDE / 2, below + 14), across, INK, font=font, anchor="ma")
    draw.text((LEFT - 5, TOP + SIDE), f"{bottom:.3g}", INK, font=font, anchor="rs")
    draw.text((LEFT - 5, TOP), f"{top:.3g}", INK, font=font, anchor="ra")


def _coloured(values: Floats) -> Pixels:
    """The ramp from the least to the greatest; what is not finite is paper."""
    known = np.isfinite(values)
    if not known.any():
        return np.full((*values.shape, 3), 255, np.uint8)
    low, high = values[known].min(), values[known].max()
    place = np.where(known, (values - low) / (high - low or 1), 0) * (len(RAMP) - 1)
    colours = [np.interp(place, range(len(RAMP)), RAMP[:, c]) for c in range(3)]
    return np.where(known[..., None], np.stack(colours, -1), 255).round().astype(np.uint8)


def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(12)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise NotReady("Pillow is not installed: pip install 'jepad[video]'") from error
    return Image
