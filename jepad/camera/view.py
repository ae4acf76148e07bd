"""What a camera's thread tells of itself.

Owns: the record. One thread writes it, another reads; each field for itself is whole, and so is
the tally of frames.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from jepad.camera.container import Facts
from jepad.camera.wire import COUNTS, CameraState


@dataclass
class View:
    """Written by the thread that looks."""

    state: CameraState = "starting"
    reason: str = ""
    facts: Facts = field(default_factory=Facts)
    position_s: float = 0.0
    behind_s: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    #: CLOCK_MONOTONIC seconds at which the call to the decoder began that is under way, 0 = none.
    busy_since: float = 0.0

    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def drop(self, why: str) -> None:
        """A frame was decoded that is not shared."""
        with self._lock:
            for count in ("decoded", "dropped", why):
                self.counts[count] += 1

    def share(self) -> None:
        """A frame was decoded, and is shared."""
        with self._lock:
            self.counts["decoded"] += 1
            self.counts["published"] += 1

    def tally(self) -> dict[str, int]:
        """The counts at one moment: decoded = published + dropped, at any."""
        with self._lock:
            return dict(self.counts)
