"""From a decoded frame to the centre square at model size, straight by swscale.

Owns: the resize (area average), the cut, the turn of a camera held upright.
Does not know: where the frame is from, nor who sees it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jepad.camera.shot import Square


class Squares:
    """Cuts squares; keeps swscale's tables between frames of one size. For one thread."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._make = VideoReformatter
        self._kept: dict[int, Any] = {}

    def cut(self, frame: Any, side: int) -> Square:
        """uint8 [side, side, 3]: the whole frame shrunk, then its middle; one's own to write."""
        least = min(frame.width, frame.height)
        wide = max(round(frame.width * side / least), side)
        high = max(round(frame.height * side / least), side)
        if side not in self._kept:
            self._kept = {s: r for s, r in self._kept.items() if len(self._kept) < 4}
            self._kept[side] = self._make()
        small = self._kept[side].reformat(
            frame, wide, high, "rgb24", interpolation="AREA", threads=1
        )
        pixels = small.to_ndarray()
        top, left = (high - side) // 2, (wide - side) // 2
        square = pixels[top : top + side, left : left + side]
        turned = np.rot90(square, frame.rotation // 90) if frame.rotation else square
        return np.ascontiguousarray(turned)
