"""Cameras of the daemon, put together from its settings and places.

Owns: what is built for a camera, and where. Does not know: when that is needed (policy/sight.py).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from jepad import config, paths
from jepad.guard.consent import FILE
from jepad.guard.plugged import anything
from jepad.policy.sight import Sight

if TYPE_CHECKING:
    from jepad.camera.settings import CameraSettings
    from jepad.policy.cameras import Cameras
    from jepad.policy.following import Watcher
    from jepad.policy.live import Live, Process

Begin = Callable[[str], Awaitable[None]]  # has systemd start a unit
DEVICE_UNIT, STREAM_UNIT = "jepad-camera@{}.service", "jepad-camera-stream@{}.service"


class Opener:
    """Where a camera's process comes from: our child, or a unit that `begin` starts."""

    def __init__(self, places: paths.Places, begin: Callable[[], Begin | None]) -> None:
        self._places, self._begin = places, begin

    def __call__(self, live: Live, settings: CameraSettings) -> Process:
        """One that is not started yet."""
        from jepad.camera.supervisor import Child, Unit

        begin = self._begin()
        if begin is None:
            return Child(self._places, live.name, settings)
        unit = DEVICE_UNIT.format(live.node) if live.node else STREAM_UNIT.format(live.name)
        return Unit(self._places, live.name, unit, begin)


def sight(
    settings: config.Config,
    places: paths.Places,
    watcher: Watcher | None,
    opener: Opener,
    roots: paths.Roots | None = None,
) -> Sight:
    """Built when first needed: a consent was stored, or something is plugged in."""
    where = roots or paths.Roots()

    def make() -> Cameras:
        from jepad.camera import wanted
        from jepad.camera.readers import readers
        from jepad.guard.consent import Consent
        from jepad.guard.plugged import plugged
        from jepad.policy.cameras import Cameras, Parts
        from jepad.policy.following import Following

        watched = watcher if settings.camera.follow else None
        return Cameras(
            Parts(
                consent=Consent(places.state),
                plugged=lambda: plugged(where),
                settings=lambda c, source: wanted.settings_of(c, source, settings, places.state),
                process=opener,
                readers=lambda streams: readers(places.shm_prefix, streams),
                following=Following(watched, settings.camera) if watched else None,
            )
        )

    def needed() -> bool:
        return os.path.exists(f"{places.state}/{FILE}") or anything(where)

    return Sight(make, needed)
