"""The last word on privacy: what may not be shown is not, whatever a filter does.

Owns: failing closed. Does not know any filter.
"""

from __future__ import annotations

import logging

import numpy as np

from jepad.camera.filters.picture import closed
from jepad.camera.settings import CameraSettings
from jepad.camera.shot import Filter, Shot, Square

log = logging.getLogger(__name__)


class Guarded:
    """A filter around the chain asked for. Raises nothing; without the chain all is pixelated."""

    def __init__(self, settings: CameraSettings) -> None:
        self._asked = settings.filters
        self._state = ""
        self._chain: Filter | None = None
        try:
            from jepad.camera.filters import chain

            self._chain = chain.build(settings)
        except Exception as error:  # noqa: BLE001  asked for or not: nothing is known to be safe
            self._failed("the filters can't be loaded", error)

    @property
    def names(self) -> tuple[str, ...]:
        """What is in force, in words."""
        if self._chain is None:
            return ("pixelate",) if self._state else ()
        return self._chain.names

    @property
    def state(self) -> str:
        """Why the whole frame is pixelated, or ""."""
        return self._state or (self._chain.state if self._chain is not None else "")

    def __call__(self, shot: Shot) -> Square:
        """What may be shared of a shot."""
        if self._chain is None:
            return closed(shot.square) if self._state else shot.square
        try:
            got = self._chain(shot)
            if got.shape != shot.square.shape or got.dtype != np.uint8:
                raise ValueError(f"a filter gave {got.dtype} {got.shape}")
        except Exception as error:  # noqa: BLE001  whatever it is, the frame isn't filtered
            self._failed("a filter failed", error)
            return closed(shot.square)
        self._state = ""
        return got

    def _failed(self, what: str, error: Exception) -> None:
        if not self._state:
            log.exception("%s: frames are pixelated", what)
        self._state = f"{what}: {error}"[:300]
