"""Which announced properties differ from what was told last, told at most once a second.

Owns: what was told, and when. Does not know: what the properties mean.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from jepad.bus.dispatch import Adapter
from jepad.bus.seam import Variant

SIGNAL = ("org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as")
INTERVAL_S = 1.0

Emit = Callable[[str, str, dict[str, Variant]], None]  # path, interface, changed values


class Changes:
    """Watches the properties that are declared to tell their changes."""

    def __init__(
        self,
        watched: Mapping[str, Adapter],  # by path
        emit: Emit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = watched
        self._emit = emit
        self._clock = clock
        self._told_at = float("-inf")
        self._told: dict[tuple[str, str], object] = {}
        for path in watched:
            self._take(path)

    def tell(self) -> None:
        """Tell what changed, unless it is too soon after the last time."""
        now = self._clock()
        if now - self._told_at < INTERVAL_S:
            return
        for path, adapter in self._watched.items():
            changed = self._take(path)
            if changed:
                self._told_at = now
                self._emit(path, adapter.interface.name, changed)

    def known(self, path: str) -> None:
        """What is there now has been told otherwise: an object came."""
        self._take(path)

    def _take(self, path: str) -> dict[str, Variant]:
        adapter = self._watched[path]
        changed = {}
        for name, declared in adapter.interface.properties.items():
            if declared.emits != "true":
                continue
            value = adapter.getters[name]()
            if not _same(self._told.get((path, name)), value):
                self._told[path, name] = value
                changed[name] = Variant(declared.signature, value)
        return changed


def _same(told: object, value: object) -> bool:
    """A number that is not known is still not known."""
    pair = (told, value)
    return told == value or all(isinstance(v, float) and math.isnan(v) for v in pair)
