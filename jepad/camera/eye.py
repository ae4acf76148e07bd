"""What becomes of one frame that is wanted: cut, filtered, shared, and looked at for motion.

Owns: the order of these. Does not know codecs, nor when a frame is wanted.
Nothing is shared, nor looked at, before the filters are through.
"""

from __future__ import annotations

from typing import Any

from jepad.camera.guarded import Guarded
from jepad.camera.shot import Shot, Square
from jepad.camera.square import Squares
from jepad.camera.streams import Streams
from jepad.heads.watch import Watch


class Eye:
    """For one thread."""

    def __init__(self, size: int, filters: Guarded, streams: Streams) -> None:
        self.filters = filters
        self.present, self.surprising = False, False
        self.presence, self.surprise = 0.0, 0.0
        self._size, self._streams = size, streams
        self._squares = Squares()
        self._watch = Watch(size)
        self._seen_s = 0.0

    def see(self, frame: Any, t_ns: int, t_s: float, tell: tuple[int, int, int]) -> None:
        """Share a frame; `tell` is (frames decoded before, frames dropped so far, flags).

        ValueError and the like: it can't be cut. RingError: it can't be shared.
        """

        def look(side: int) -> Square:
            return self._squares.cut(frame, side)

        shown = self.filters(Shot(look(self._size), t_ns, t_s, look))
        before, dropped, flags = tell
        self._streams.open()
        n = self._streams.publish(shown, t_ns, before, (int(t_s * 1e9), dropped), flags)
        self._seen_s = max(t_s, self._seen_s)
        seen = self._watch.see(shown, self._seen_s)
        self._streams.tell(seen.record(), t_ns, n)
        self.present, self.presence = bool(seen.present), float(seen.presence)
        self.surprising, self.surprise = bool(seen.surprising), float(seen.surprise)

    def forget(self) -> None:
        """The view may be another one now: what was usual counts no more."""
        self._watch.reset()
        self._seen_s = 0.0
        self.present, self.surprising = False, False
        self.presence, self.surprise = 0.0, 0.0
