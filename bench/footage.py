"""Films with faces, as a camera would see them from near and from far, and marks made by eye.

Owns: reading them, the canvas, which faces are where. Does not know: detectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jepad.camera.filters.picture import FILL
from jepad.camera.shot import Square
from jepad.errors import SettingError

Floats = npt.NDArray[np.float32]

#: Films and the faces in each of their frames, counted by eye on twelve: towards the camera, lit.
COUNTED = {
    "faces_gif/classroom.gif": 4,
    "faces_gif/face-demographics-walking.gif": 2,
    "faces_gif/head-pose-face-detection-female-and-male.gif": 2,
}
#: Centres of faces marked by eye (frame, x, y of the frame's sides): in profile, under caps,
#: blurred by motion. Made without a detector's help; to a tenth of a face.
MARKED: dict[str, tuple[tuple[int, float, float], ...]] = {
    "clips/demo.mp4": (
        (0, 0.09, 0.46), (25, 0.12, 0.33), (50, 0.14, 0.33), (75, 0.13, 0.13), (100, 0.16, 0.14),
        (125, 0.17, 0.25), (150, 0.17, 0.17), (175, 0.08, 0.19), (200, 0.08, 0.11),
        (275, 0.09, 0.21),
    ),
    "clips/one-by-one-person-detection.mp4": tuple((at, 0.61, 0.11) for at in range(250, 426, 25)),
    "clips/carphone_pristine.mp4": tuple((at, 0.48, 0.45) for at in range(0, 101, 25)),
}  # fmt: skip
#: No face that a person could make out in these: whatever is found is false.
FACELESS = tuple(
    f"clips/{name}"
    for name in (
        "bottle-detection.mp4", "car-detection.mp4", "car_traffic_small.mp4", "test.mp4",
        "video02.avi", "video03.avi", "vtest.avi", "bigbuckbunny.mp4",
    )
)  # fmt: skip
#: Two of them are no fair question: what is nearly a face is found there.
KINDS = {"clips/vtest.avi": "people far off", "clips/bigbuckbunny.mp4": "drawn animal"}


@dataclass(frozen=True, slots=True)
class Still:
    """A frame of a film, and how it is resized."""

    index: int
    frame: Any  # PyAV's

    def pixels(self, width: int, height: int) -> Square:
        """uint8 [height, width, 3], averaged over areas."""
        size = {"width": width, "height": height, "format": "rgb24", "interpolation": "AREA"}
        return np.ascontiguousarray(self.frame.reformat(**size).to_ndarray())

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height."""
        return int(self.frame.width), int(self.frame.height)


def stills(data: str, name: str, every: int, most: int) -> Iterator[Still]:
    """Every n-th frame, so many at most. SettingError without the file."""
    import av

    path = Path(data) / name
    if not path.is_file():
        raise SettingError(f"{path}: not there; --data names a directory with {name}")
    with av.open(str(path)) as film:
        film.streams.video[0].thread_count = 1
        for index, frame in enumerate(film.decode(video=0)):
            if index >= every * most:
                return
            if index % every == 0:
                yield Still(index, frame)


def canvas(still: Still, away: float) -> Square:
    """The frame in the middle of a square `away` times as wide: a scene seen from farther off,
    by a camera of as many more pixels."""
    width, height = still.shape
    side = round(max(width, height) * away)
    out = np.broadcast_to(np.array(FILL, np.uint8), (side, side, 3)).copy()
    top, left = (side - height) // 2, (side - width) // 2
    out[top : top + height, left : left + width] = still.pixels(width, height)
    return out


def placed(boxes: Floats, still: Still, away: float) -> Floats:
    """Boxes or points (x, y, ...) of the frame's sides -> of the canvas's sides."""
    width, height = still.shape
    side = round(max(width, height) * away)
    start = np.array([(side - width) // 2, (side - height) // 2], np.float32)
    scale = np.array([width, height], np.float32)
    count = boxes.shape[1] // 2
    out: Floats = (boxes * np.tile(scale, count) + np.tile(start, count)) / np.float32(side)
    return out


def shrunk(square: Square, side: int) -> Square:
    """The canvas at another side, by swscale as in the camera."""
    import av

    frame = av.VideoFrame.from_ndarray(square, format="rgb24")
    return Still(0, frame).pixels(side, side)
