"""The filters of a camera, one after the other, before anything is shared. Fails closed.

Owns: which there are, and that a frame of which any could not do its part is pixelated as a whole.
Does not know: codecs, rings. Loads a face model only where one is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jepad.camera.filters.detector import load
from jepad.camera.filters.faces import Faces
from jepad.camera.filters.picture import Pixelate, closed
from jepad.camera.filters.zones import Zones
from jepad.camera.settings import CameraSettings
from jepad.camera.shot import Filter, Shot, Square
from jepad.errors import EngineError, JepadError


class Part(Protocol):
    """One filter. Raises whatever it likes: the frame is then pixelated."""

    name: str

    def __call__(self, shot: Shot, pixels: Square, /) -> Square:
        """The pixels with their secret gone; in place or new."""


class Chain:
    """As shot.Filter says."""

    def __init__(self, parts: Sequence[Part], broken: str = "") -> None:
        """`broken`: why no frame can be shared as it is, for good; "" if they can."""
        self._parts = tuple(parts)
        self._broken = broken
        self._failed = ""

    @property
    def names(self) -> tuple[str, ...]:
        """As the protocol says; those that could not be made are not in force."""
        return tuple(part.name for part in self._parts)

    @property
    def state(self) -> str:
        """As the protocol says."""
        return self._broken or self._failed

    def __call__(self, shot: Shot) -> Square:
        """As the protocol says. Every part runs even so: what is remembered of faces goes on."""
        pixels, failed = shot.square, ""
        for part in self._parts:
            try:
                pixels = self._checked(part(shot, pixels), shot)
            except Exception as error:  # noqa: BLE001 - whatever it is, the frame is closed
                failed = failed or _why(part.name, error)
        self._failed = failed
        return closed(pixels) if self.state else pixels

    @staticmethod
    def _checked(pixels: Square, shot: Shot) -> Square:
        if pixels.shape != shot.square.shape or pixels.dtype != shot.square.dtype:
            raise EngineError(f"gave {pixels.dtype} {pixels.shape}")
        return pixels


def build(settings: CameraSettings) -> Filter:
    """Opens the face model's file and starts its thread: before the sandbox closes."""
    parts: list[Part] = []
    broken = ""
    for name in _asked(settings):
        try:
            parts.append(_part(name, settings))
        except Exception as error:  # noqa: BLE001 - the camera starts, and shows nothing
            broken = broken or _why(name, error)
    return Chain(parts, broken)


def _asked(settings: CameraSettings) -> tuple[str, ...]:
    """In order; zones that are given are drawn whether or not they are named."""
    names = tuple(dict.fromkeys(settings.filters))
    return names if not settings.zones or "zones" in names else ("zones", *names)


def _part(name: str, settings: CameraSettings) -> Part:
    if name == "zones":
        return Zones(settings.zones, settings.size)
    if name == "pixelate":
        return Pixelate(settings.pixelate_block)
    if name == "faces":
        find = load(settings.faces_model, settings.faces_sha256, settings.faces_threshold)
        return Faces(find, settings.faces_keep, settings.faces_hide)
    raise EngineError("there is no such filter")


def _why(name: str, error: Exception) -> str:
    """One sentence for a person; of what was not foreseen, its type too."""
    said = str(error) if isinstance(error, JepadError) else f"{type(error).__name__}: {error}"
    return f"{name}: {said}"
