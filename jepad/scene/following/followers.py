"""All streams that are followed.

Owns: how many there may be, which request concerns which. Does not know: sockets, frames.
"""

from __future__ import annotations

import time

from jepad.errors import EngineError, NotFound
from jepad.scene import wire
from jepad.scene.budget import Budget, work
from jepad.scene.following.follower import Follower
from jepad.scene.following.outlet import wipe_left
from jepad.scene.following.seer import Seer
from jepad.scene.placement import cpu

#: Each has a thread and a window of frames.
MOST = 16
#: Threads that compute end after that; nobody waits longer for them.
STOP_S = 1.0
Asked = wire.Follow | wire.Unfollow | wire.Followed


class Followers:
    """By one thread. How a stream ended can be asked until it is followed anew, or many others
    are."""

    def __init__(self, prefix: str, seer: Seer) -> None:
        self._prefix, self._seer = prefix, seer
        self._by_stream: dict[str, Follower] = {}
        wipe_left(prefix)

    def __len__(self) -> int:
        """Streams whose frames are read."""
        return sum(each.reads for each in self._by_stream.values())

    def take(self, asked: Asked) -> wire.Following:
        """The answer. NotFound, RingError, SettingError, TooLarge, EngineError: why not."""
        if isinstance(asked, wire.Follow):
            return self._follow(asked.watched).say(asked.id)
        found = self._by_stream.get(asked.stream)
        if found is None:
            raise NotFound(f"stream {asked.stream} is not followed")
        if isinstance(asked, wire.Unfollow):
            del self._by_stream[asked.stream]
            found.stop()
        return found.say(asked.id)

    def sweep(self) -> None:
        """Wipe what may not be read any more; once a second."""
        for each in self._by_stream.values():
            each.sweep()

    def stop(self) -> None:
        """All of them; what was published is wiped."""
        for each in self._by_stream.values():
            each.stop()
        limit = time.monotonic() + STOP_S
        for each in self._by_stream.values():
            each.join(max(limit - time.monotonic(), 0))

    def _follow(self, watched: wire.Watched) -> Follower:
        known = self._by_stream.get(watched.stream)
        if known is not None and known.watched == watched and known.reads:
            return known
        if len(self) - (known is not None and known.reads) >= MOST:
            raise EngineError(f"{MOST} streams are followed already: stop one of them first")
        self._affords(watched)
        self._tidy()
        if known is not None:
            known.stop()
        made = Follower(self._prefix, watched, self._seer)
        self._by_stream[watched.stream] = made
        made.start()
        return made

    def _tidy(self) -> None:
        """Forget the oldest of those that are over."""
        over = [name for name, each in self._by_stream.items() if not each.is_alive()]
        for name in over[: max(len(over) - MOST, 0)]:
            del self._by_stream[name]

    def _affords(self, watched: wire.Watched) -> None:
        model = self._seer.model
        frames = self._seer.window(watched.window)
        tokens = model.frame.frame * max(frames // self._seer.unit, 1)
        need = work(model, tokens)
        Budget().check(need, cpu().free_bytes, f"following {watched.stream} by {frames} frames")
