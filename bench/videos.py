"""Video files as a camera's frames, and the labelled sets of them.

Owns: PyAV for benches, where sets lie, their labels. Does not know: what is measured.
The files are those of whoever runs the bench; a service decodes in a process of its own.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepad.errors import SettingError

Frames = NDArray[np.uint8]
SIZE = 224


class Frame(NamedTuple):
    """One of a file."""

    number: int  # in the file, from 0
    time_s: float  # from its start
    pixels: Frames  # [S, S, 3]


@dataclass(frozen=True, slots=True)
class Clip:
    """One of a probe."""

    path: str
    label: int
    group: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """A video whose frames are labelled one by one."""

    path: str
    label: NDArray[np.int64]  # by frame, 1 = anomalous


def frames(path: str, rate: float = 0.0, size: int = SIZE) -> Iterator[Frame]:
    """The whole picture squeezed to a square; `rate` frames/s, 0 = every one. SettingError where
    there is no video."""
    import av

    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            own = float(stream.average_rate or stream.guessed_rate or 25)
            due = 0.0
            for number, frame in enumerate(container.decode(stream)):
                time_s = number / own
                if time_s + 1e-6 < due:
                    continue
                due += 1 / rate if rate else 0.0
                yield Frame(number, time_s, squeezed(frame, size))
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise SettingError(f"{path}: no video to be measured: {error}") from error


def squeezed(frame: Any, size: int = SIZE) -> Frames:
    """A decoded frame as uint8 [size, size, 3], each pixel the mean of what it covers."""
    out: Frames = frame.reformat(size, size, "rgb24", interpolation="AREA").to_ndarray()
    return out


def probe(data: str | None) -> list[Clip]:
    """The clips of `fight/clips.csv`, in DIR or DIR/video; [] where there are none."""
    place = _first(data, ("fight", "video/fight"), "clips.csv")
    if place is None:
        return []
    try:
        with (place / "clips.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [Clip(str(place / r["file"]), int(r["label"]), r["group"]) for r in rows]
    except (KeyError, ValueError, TypeError) as error:
        raise SettingError(f"{place}/clips.csv: wants file,label,group in every row") from error


def labelled(data: str | None) -> tuple[list[str], list[Labelled]]:
    """Normal videos and labelled ones of DIR, where it has training/ and testing/; else nothing."""
    place = _first(data, (".", "anomaly", "video/anomaly"), "testing")
    if place is None:
        return [], []
    training = [str(p) for p in sorted((place / "training").glob("*.mp4"))]
    testing = [
        Labelled(str(p), labels(p.with_name(f"{p.stem}.labels.csv")))
        for p in sorted((place / "testing").glob("*.mp4"))
    ]
    if not training or not testing:
        raise SettingError(f"{place}: wants training/*.mp4 and testing/NN.mp4 + NN.labels.csv")
    return training, testing


def labels(path: Path) -> NDArray[np.int64]:
    """Of `frame,label` rows, frames counted from 0 or from 1. SettingError: one is missing."""
    try:
        with path.open(newline="") as file:
            rows = [(int(r["frame"]), int(r["label"])) for r in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise SettingError(f"{path}: wants a row frame,label for every frame: {error}") from error
    numbers = [n for n, _ in rows]
    first = min(numbers, default=-1)
    if sorted(numbers) != list(range(first, first + len(rows))) or not rows:
        raise SettingError(f"{path}: frames are missing or told twice")
    if first not in (0, 1) or any(label not in (0, 1) for _, label in rows):
        raise SettingError(f"{path}: frames are counted from 0 or 1, labels are 0 or 1")
    return np.array([label for _, label in sorted(rows)])


def _first(data: str | None, places: Sequence[str], wanted: str) -> Path | None:
    for place in places if data else ():
        path = Path(os.path.join(str(data), place))
        if (path / wanted).exists():
            return path
    return None
