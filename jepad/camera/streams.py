"""The two streams of a camera: frames at model size, and what the motion baseline says of each.

Owns: their layouts, their life: made when frames come, retired when the camera is gone.
Does not know codecs, nor what the numbers mean.
"""

from __future__ import annotations

import grp
import threading

import numpy as np
from numpy.typing import NDArray

from jepad.camera.settings import CameraSettings
from jepad.camera.shot import Square
from jepad.errors import RingError
from jepad.heads import watch
from jepad.ring.layout import Layout
from jepad.ring.writer import Writer

GROUP = "jepad-camera"
MODE = 0o640
#: Records of motion beside one of frames: small, so that a slow reader misses none.
MOTION_SLOTS = 256


def frames_layout(name: str, settings: CameraSettings) -> Layout:
    """frames.NAME: uint8 [size, size, 3]. t_ns: capture. source_n: frames decoded before this one.
    aux: the scene's own time in ns (a file's position), frames dropped so far."""
    size = settings.size
    schema = {
        "what": "camera frames",
        "camera": name,
        "color": "RGB",
        "fps": settings.fps,
        "filters": list(settings.filters),
        "source_n": "frames decoded before",
        "aux": ["position_ns", "dropped"],
    }
    return Layout(f"frames.{name}", "u1", (size, size, 3), schema, slots_of(settings))


def motion_layout(name: str, settings: CameraSettings) -> Layout:
    """motion.NAME: float32, `heads.watch.schema`. source_n: the record of frames.NAME."""
    size = settings.size
    schema = watch.schema(size)
    return Layout(f"motion.{name}", "f4", (watch.length(size),), schema, MOTION_SLOTS)


def slots_of(settings: CameraSettings) -> int:
    """A power of two, no more than the retention needs."""
    wanted = min(settings.slots, int(settings.retention_min * 60 * settings.fps) or 1)
    return max(4, 1 << (max(wanted, 1).bit_length() - 1))


class Streams:
    """open(), publish(), retire(); and anew. For one publisher, and any thread that retires."""

    def __init__(self, prefix: str, name: str, settings: CameraSettings) -> None:
        self._prefix = prefix
        self._layouts = (frames_layout(name, settings), motion_layout(name, settings))
        self._group = settings.group or _group()
        self._lock = threading.Lock()
        self._writers: tuple[Writer, Writer] | None = None
        self._closed = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of both, whether they are there or not."""
        return tuple(layout.stream for layout in self._layouts)

    @property
    def frames(self) -> Writer | None:
        """The writer of frames, None while there is no stream."""
        return self._writers[0] if self._writers else None

    @property
    def motion(self) -> Writer | None:
        """The writer of motion, None while there is no stream."""
        return self._writers[1] if self._writers else None

    def open(self) -> None:
        """Make both, unless they are there. RingError: no room, another writer."""
        with self._lock:
            if self._writers is not None:
                return
            if self._closed:
                raise RingError("the camera ends")
            frames = self._make(self._layouts[0])
            try:
                self._writers = frames, self._make(self._layouts[1])
            except BaseException:
                frames.retire()
                raise

    def publish(
        self, square: Square, t_ns: int, source_n: int, aux: tuple[int, int], flags: int = 0
    ) -> int:
        """One frame; its number. RingError once retired."""
        return self._both()[0].publish(square, t_ns, flags, source_n, aux)

    def tell(self, record: NDArray[np.float32], t_ns: int, n: int) -> None:
        """What motion says of frame `n`."""
        self._both()[1].publish(record, t_ns, source_n=n)

    def beat(self) -> None:
        """Readers see that we live, though nothing comes."""
        with self._lock:
            for writer in self._writers or ():
                writer.heartbeat()

    def retire(self, *, last: bool = False) -> None:
        """Readers see "retired"; nobody can open them by name. `last`: never to be made again."""
        with self._lock:
            writers, self._writers = self._writers, None
            self._closed = self._closed or last
        for writer in writers or ():
            writer.retire()

    def _both(self) -> tuple[Writer, Writer]:
        writers = self._writers
        if writers is None:
            raise RingError("the camera's streams are retired")
        return writers

    def _make(self, layout: Layout) -> Writer:
        return Writer.create(self._prefix, layout, MODE, self._group)


def _group() -> str | None:
    """Frames have a group of their own where the administrator made it."""
    try:
        grp.getgrnam(GROUP)
    except KeyError:
        return None
    return GROUP
