"""Frames of any size, from anybody, as the patches a model takes.

Owns: which preprocessing a model's frames go through, frames out of a stream, what is refused.
Does not know: the network.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepad.errors import Lapped, NotReady, SettingError
from jepad.ring.stream import Header, Stream
from jepad.scene import wire
from jepad.scene.backend import Floats
from jepad.scene.model import Model
from jepad.vision import preprocess
from jepad.vision.grid import Grid
from jepad.vision.patches import unfold

Frames = NDArray[np.uint8]


class Seen(NamedTuple):
    """patches [b, K, P]: one clip, or (2-AC) every frame as a clip of its own."""

    patches: Floats
    grid: Grid  # of one of the b
    steps: int  # in time, of all


class Eye:
    """Of one model."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def look(self, frames: Frames) -> Seen:
        """uint8 [T, H, W, 3]; frames of the model's own size are taken as they are; one frame is an
        image to a model that knows images. SettingError: a clip that doesn't divide into tubelets,
        frames too thin to be cut."""
        shape, acting = self._model.encoder, self._model.acting
        if not acting:
            shape.grid_of(len(frames), shape.size, shape.size)  # says what it can't take
        clip = self._sized(frames)
        if not acting:
            tubelet = 1 if shape.image and len(clip) == 1 else shape.tubelet
            grid = shape.grid_of(len(clip), shape.size, shape.size)
            return Seen(unfold(clip, tubelet, shape.patch)[None], grid, grid.steps)
        each = [unfold(np.repeat(f[None], shape.tubelet, 0), shape.tubelet, shape.patch)
                for f in clip]  # fmt: skip
        return Seen(np.stack(each), self._model.frame, len(clip))

    def _sized(self, frames: Frames) -> Floats:
        size = self._model.encoder.size
        if frames.shape[1:3] == (size, size):
            return preprocess.normalised(frames)
        if self._model.acting:
            return preprocess.centred(frames, size)
        return preprocess.evaluate(frames, size)


def streamed(prefix: str, asked: wire.Streamed) -> Frames:
    """Frames out of a stream of pictures, copied whole or refused.

    NotFound, RingError: it can't be opened or trusted; Lapped: overwritten already; NotReady: not
    yet there; SettingError: no pictures in it.
    """
    with Stream(prefix, asked.stream) as stream:
        header = stream.header
        pictured(asked.stream, header)
        if asked.count > header.slots:
            raise SettingError(
                f"stream {asked.stream}: {asked.count} frames are too many; it keeps {header.slots}"
            )
        if header.shape[0] * header.shape[1] * 3 * asked.count > wire.MAX_PART_BYTES:
            raise SettingError(f"{asked.count} frames of {header.shape}: more than 64 MiB")
        last = stream.head if asked.n < 0 else asked.n
        if last - asked.count + 1 < 0 or last > stream.head:
            raise NotReady(
                f"stream {asked.stream}: frame {last} and those before are not all there"
            )
        return _copied(stream, last, asked.count)


def pictured(name: str, header: Header) -> None:
    """SettingError: a stream of no pictures, or of too large ones."""
    if header.dtype != np.uint8 or len(header.shape) != 3 or header.shape[2] != 3:
        raise SettingError(
            f"stream {name}: no frames in it, uint8 [H, W, 3], but {header.dtype} "
            f"{list(header.shape)}"
        )
    if max(header.shape) > wire.MAX_SIDE:
        raise SettingError(
            f"stream {name}: frames of {header.shape[0]}×{header.shape[1]} are too large: at most "
            f"{wire.MAX_SIDE}×{wire.MAX_SIDE}"
        )


def _copied(stream: Stream, last: int, count: int) -> Frames:
    out = np.empty((count, *stream.header.shape), np.uint8)
    for i in range(count):
        if stream.read(n=last - count + 1 + i, timeout=0, out=out[i]) is None:
            raise Lapped(f"stream {stream.header.name}: frame {last - count + 1 + i} is gone")
    return out
