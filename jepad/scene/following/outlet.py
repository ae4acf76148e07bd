"""What is published of a stream that is followed: embeddings.NAME and predictions.NAME.

Owns: names, layouts and words of both rings. Does not know how anything in them is computed.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from typing import NamedTuple

import numpy as np

from jepad.errors import JepadError, SettingError
from jepad.records import GAP
from jepad.ring.layout import Layout, float_bits, object_path
from jepad.ring.stream import Stream, listing
from jepad.scene import wire
from jepad.scene.following.expectation import Measured
from jepad.scene.following.seer import Look, Seer
from jepad.scene.following.shelf import Record, Shelf, slots_for
from jepad.scene.following.source import steps_in

log = logging.getLogger(__name__)

FRAMES, EMBEDDINGS, PREDICTIONS = "frames.", "embeddings.", "predictions."
#: Whose embeddings and predictions are others': the engine of telemetry writes them.
MACHINE = "machine"


class Pace(NamedTuple):
    """Of a stream, as it was when it was opened."""

    fps: float
    unit: int  # frames of a step in time
    window: int  # frames


class Newest(NamedTuple):
    """Which frame a look ends with."""

    n: int
    t_ns: int
    gap: bool  # frames were missed before it


class Outlet:
    """Of one stream; its rings are there from the start."""

    def __init__(self, prefix: str, watched: wire.Watched, seer: Seer, pace: Pace) -> None:
        """SettingError: a stream of another name than frames'; RingError: no room for the rings."""
        if not watched.stream.startswith(FRAMES) or watched.stream == FRAMES:
            raise SettingError(f"stream {watched.stream}: frames are in streams named {FRAMES}NAME")
        self.name = watched.stream.removeprefix(FRAMES)
        if self.name == MACHINE:
            raise SettingError(
                f"stream {watched.stream}: {EMBEDDINGS}{MACHINE} is of this machine's telemetry; "
                "name the camera otherwise"
            )
        self.learned = not seer.model.manifest.random
        self._ahead = _rows(watched.ahead_s if seer.model.predictor else 0, pace)
        self._seer, self._of = seer, watched.stream
        wanted = watched.retention_s * pace.fps / (pace.unit * watched.every)
        layouts = [self._embeddings(pace.window, wanted)]
        if self._ahead:
            layouts.append(self._predictions(wanted))
        self._shelves: list[Shelf] = []
        try:
            for layout in layouts:
                self._shelves.append(Shelf(prefix, layout, watched.retention_s))
        except BaseException:
            self.close()
            raise

    @property
    def steps(self) -> int:
        """In time, that have to be predicted for it."""
        return self._ahead[-1] if self._ahead else 0

    @property
    def embeddings(self) -> str:
        """The stream's name."""
        return EMBEDDINGS + self.name

    @property
    def predictions(self) -> str:
        """The stream's name; "" = none."""
        return PREDICTIONS + self.name if self._ahead else ""

    @property
    def empty(self) -> bool:
        """Is nothing left that could be read?"""
        return all(shelf.empty for shelf in self._shelves)

    def publish(self, look: Look, measured: Measured, newest: Newest) -> None:
        """After close() nothing happens."""
        flags = GAP if newest.gap else 0
        aux = (float_bits(measured.surprise), float_bits(measured.beside))
        record = Record(look.pooled, newest.t_ns, newest.n, flags, aux)
        self._shelves[0].publish(record)
        if self._ahead and look.ahead is not None:
            rows = look.ahead[np.array(self._ahead) - 1].mean(1, dtype=np.float64)
            self._shelves[1].publish(Record(rows.astype(np.float32), newest.t_ns, newest.n, flags))

    def sweep(self) -> None:
        """What is too old goes."""
        for shelf in self._shelves:
            shelf.sweep()

    def close(self) -> None:
        """Wiped and retired."""
        for shelf in self._shelves:
            with contextlib.suppress(OSError):
                shelf.close()

    def _embeddings(self, window: int, wanted: float) -> Layout:
        why, learned = self._seer.why, self.learned
        told: dict[str, object] = {
            "window": window,
            "surprise": {
                "from": "usual" if why else "predicted",
                "learned": learned and not why,
                "why": why,
            },
        }
        return self._layout(self.embeddings, (self._seer.model.encoder.width,), told, wanted)

    def _predictions(self, wanted: float) -> Layout:
        told: dict[str, object] = {"horizons_s": list(range(1, len(self._ahead) + 1))}
        shape = (len(self._ahead), self._seer.model.predicting().output)
        return self._layout(self.predictions, shape, told, wanted)

    def _layout(
        self, name: str, shape: tuple[int, ...], told: dict[str, object], wanted: float
    ) -> Layout:
        model = self._seer.model
        schema = told | {
            "of": self._of, "pool": "mean", "model": model.manifest.name, "learned": self.learned,
        }  # fmt: skip
        slots = slots_for(wanted, 4 * math.prod(shape))
        return Layout(name, np.float32, shape, schema, slots, bytes.fromhex(model.digest))


def _rows(seconds: int, pace: Pace) -> tuple[int, ...]:
    """For 1, 2, … seconds ahead: how many steps that is."""
    return tuple(steps_in(s, pace.fps, pace.unit) for s in range(1, seconds + 1))


def wipe_left(prefix: str) -> None:
    """What an engine that was killed left of streams it followed; one that lives keeps its own."""
    directory, name = os.path.split(object_path(prefix, "any"))
    for stream in listing(name.removesuffix(".any"), directory):
        if stream.startswith((EMBEDDINGS, PREDICTIONS)):
            try:
                _wipe(prefix, stream)
            except JepadError as error:
                log.info("%s is left as it is: %s", stream, error)


def _wipe(prefix: str, stream: str) -> None:
    with Stream(prefix, stream) as found:
        told = found.header
    if not str(told.schema.get("of", "")).startswith(FRAMES):
        return
    layout = Layout(stream, told.dtype, told.shape, told.schema, told.slots, told.model_sha256)
    Shelf(prefix, layout, 0).close()
