"""One frame in, what is said of it out: motion, presence and surprise, and the record of them.

Owns: the order of the numbers in a stream of motion. Does not know: streams, processes, cameras,
a model: `LEARNED` is False, and whoever publishes this says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jepad.errors import SettingError
from jepad.heads.sight.presence import Event, Presence, PresenceLimits
from jepad.heads.sight.surprise import Surprise, SurpriseLimits
from jepad.vision.motion import CELL, Motion, Motions, Sensing

Floats = npt.NDArray[np.float32]

LEARNED = False
#: A record's first numbers; the score of every cell, row by row, follows. Flags are 0 or 1.
HEAD = (
    "gate",  # flag: worth encoding
    "changed",  # share of the cells that move
    "peak",  # largest score of a cell, grey levels
    "light",  # flag: the whole view changed at once
    "present",  # flag: somebody is in view
    "presence",  # 0..1
    "surprise",  # deviations, 0..20
    "surprising",  # flag
    "speed",  # of the fastest cell, pixels a frame
    "foreground",  # share of the view unlike its background
    "warm",  # flag: enough was seen for surprise to say something
    "spare",
)
_PLACE = {name: n for n, name in enumerate(HEAD)}
_FLAGS = ("gate", "light", "present", "surprising", "warm")


@dataclass(frozen=True, slots=True)
class Reading:
    """A record as its reader sees it."""

    gate: bool
    changed: float
    peak: float
    light: bool
    present: bool
    presence: float
    surprise: float
    surprising: bool
    speed: float
    foreground: float
    warm: bool
    cells: Floats  # [R, C], grey levels


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame."""

    motion: Motion
    present: bool
    presence: float
    event: Event
    surprise: float
    surprising: bool
    warm: bool

    @property
    def gate(self) -> bool:
        """Whether the frame is worth encoding."""
        return self.motion.gate

    def record(self) -> Floats:
        """float32 [length(size)], in the order of HEAD."""
        motion = self.motion
        speed = float(np.hypot(motion.flow[..., 0], motion.flow[..., 1]).max()) * (CELL / 4)
        light = motion.light or motion.flood
        head = (
            motion.gate, motion.changed, motion.peak, light, self.present, self.presence,
            self.surprise, self.surprising, speed, float(motion.foreground.mean()), self.warm, 0,
        )  # fmt: skip
        return np.concatenate([np.array(head, np.float32), motion.score.ravel()])


class Watch:
    """Of one camera, frame after frame. Not for several threads."""

    def __init__(
        self,
        size: int,
        sensing: Sensing | None = None,
        presence: PresenceLimits | None = None,
        surprise: SurpriseLimits | None = None,
    ) -> None:
        """`size`: pixels a side of its square frames, a multiple of 16."""
        self._motions = Motions(size, sensing or Sensing())
        self._presence = Presence(presence or PresenceLimits())
        self._surprise = Surprise(surprise or SurpriseLimits())

    def see(self, frame: npt.NDArray[Any], t_s: float) -> Seen:
        """The newest frame, uint8 [S, S, 3], and the scene's time at it. SettingError as of
        Motions.see."""
        motion = self._motions.see(frame, t_s)
        somebody = self._presence.see(motion, t_s)
        unusual = self._surprise.see(motion, t_s)
        return Seen(
            motion, somebody.present, somebody.score, somebody.event, unusual.score,
            unusual.surprising, unusual.warm,
        )  # fmt: skip

    def resume(self) -> None:
        """Frames go on after a gap: what is usual stays, all else starts anew."""
        self._motions.reset()
        self._presence.reset()
        self._surprise.resume()

    def reset(self) -> None:
        """Of another scene: forget all."""
        self.resume()
        self._surprise.reset()


def length(size: int) -> int:
    """Numbers of a record of a view of so many pixels a side."""
    return len(HEAD) + (size // CELL) ** 2


def schema(size: int) -> dict[str, object]:
    """What a stream of records says of itself."""
    side = size // CELL
    return {
        "fields": ["motion"],
        "head": list(HEAD),
        "cells": [side, side],
        "cell_pixels": CELL,
        "units": {"peak": "grey levels", "cells": "grey levels", "speed": "pixels a frame"},
        "learned": LEARNED,
    }


def read(record: npt.NDArray[Any]) -> Reading:
    """A record's numbers by name. SettingError: its length is none of a square view."""
    cells = len(record) - len(HEAD) if record.ndim == 1 else -1
    side = round(max(cells, 0) ** 0.5)
    if side < 1 or side * side != cells:
        raise SettingError(f"a record of motion has {len(HEAD)} numbers and a square of cells")
    head: dict[str, Any] = {
        name: bool(record[n] >= 0.5) if name in _FLAGS else float(record[n])
        for name, n in _PLACE.items()
    }
    head.pop("spare")
    return Reading(**head, cells=np.array(record[len(HEAD) :], np.float32).reshape(side, side))
