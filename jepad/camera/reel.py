"""One opening of a source played to its end: which frames are shared, and when.

Owns: the pace, what is left out when behind, the accounting of every decoded frame.
Does not know how a source is opened or what follows its end.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from jepad.camera.container import MOST_PIXELS, Container, Facts, Lost, unusable
from jepad.camera.eye import Eye
from jepad.camera.pace import CAUGHT_UP_S, LATE_S, SKIP_S, Grid, Origin, Times
from jepad.camera.settings import CameraSettings
from jepad.camera.source import Source
from jepad.camera.view import View
from jepad.errors import JepadError
from jepad.records import GAP

#: A header often names a frame or a fiftieth more than there is.
SPARE = 50
SPARE_S = 1.0
#: A device's own time of a frame is believed if it is no older.
BELIEVED_S = 5.0


class Reel:
    """play() once for each opening."""

    def __init__(self, source: Source, settings: CameraSettings, eye: Eye, view: View) -> None:
        self._source, self._eye, self._view = source, eye, view
        self._fast = settings.fast and source.own_time
        self._times = Times(settings.fps)
        self._grid = Grid(settings.fps)
        self._origin: Origin | None = None
        self._flags = 0
        self._shared_at = 0.0  # CLOCK_MONOTONIC seconds
        self._last_ns = 0
        self._skipping = False

    def play(self, container: Container, stop: threading.Event) -> str:
        """Until its end or `stop`; why it ended before its time, "" if it did not. Lost when it
        breaks off."""
        view = self._view
        view.facts = facts = container.facts()
        if facts.width * facts.height > MOST_PIXELS:
            raise Lost(unusable(facts.width, facts.height))
        # A film at a server is played in its own time; a stream without an end keeps its own.
        paced = self._source.own_time or (self._source.kind == "http" and facts.length_s > 0)
        self._times.begin(facts.rate, timed=facts.timed)
        self._began_s = view.position_s
        if not self._source.own_time or self._origin is None:  # a loop goes on in its time
            self._origin = Origin(ours=paced)
        self._paced, self._skipping = paced and not self._fast, False
        try:
            for packet in _busy(view, container.packages()):
                arrival = time.monotonic()
                for frame in self._decoded(container, packet):
                    self._take(container, frame, arrival, stop)
                if stop.is_set():
                    return ""
        finally:
            view.busy_since = 0.0
        return self._short(container, facts)

    def again(self) -> None:
        """The next opening begins anew; its first frame says that something may be missing."""
        self._flags = GAP

    def _short(self, container: Container, facts: Facts) -> str:
        """What is missing of a film that came to its end."""
        seen, whole = self._view.position_s - self._began_s, facts.expected_s
        if container.damaged:
            return f"damaged: {container.damaged} of {container.packets} packets can't be decoded"
        if facts.expected - container.packets > 1 + facts.expected // SPARE:
            return f"truncated: {container.packets} of its {facts.expected} frames are there"
        if self._source.kind == "file" and whole - seen > SPARE_S + whole / SPARE:
            return f"truncated: {seen:.1f} of its {whole:.1f} s are there"
        return ""

    def _decoded(self, container: Container, packet: Any) -> list[Any]:
        view, damaged = self._view, container.damaged
        view.counts["packets"] += bool(packet.size)
        view.busy_since = time.monotonic()
        try:
            return container.frames(packet)
        finally:
            view.busy_since = 0.0
            view.counts["damaged"] += container.damaged - damaged

    def _take(
        self, container: Container, frame: Any, arrival: float, stop: threading.Event
    ) -> None:
        """Account for one decoded frame: shared, or dropped and why."""
        view = self._view
        before = view.counts["decoded"]
        told = frame.time
        t_s = self._times.of(told)
        view.position_s = t_s
        behind = self._behind(container, t_s, arrival)
        if why := unusable(frame.width, frame.height):
            view.reason = why
            view.drop("unfit")
        elif not self._grid.takes(t_s):
            view.drop("thinned")
        elif self._too_late(behind) or (self._paced and stop.wait(max(-behind, 0.0))):
            view.drop("late")
            self._flags = GAP
        else:
            self._share(frame, self._captured(told, arrival, behind), t_s, before)

    def _too_late(self, behind: float) -> bool:
        """Nobody is served by it, but for one a second that says we live."""
        return behind > LATE_S and time.monotonic() - self._shared_at < LATE_S

    def _behind(self, container: Container, t_s: float, arrival: float) -> float:
        """Seconds; and what that means for the decoder."""
        if self._fast:
            return 0.0
        assert self._origin is not None
        now = time.monotonic()
        behind = self._origin.behind(t_s, now if self._paced else arrival)
        behind += 0.0 if self._paced else now - arrival
        self._view.behind_s = max(behind, 0.0)
        if self._skipping != (behind > (CAUGHT_UP_S if self._skipping else SKIP_S)):
            self._skipping = not self._skipping
            container.skip(on=self._skipping)
        return behind

    def _captured(self, told: float | None, arrival: float, behind: float) -> int:
        """CLOCK_MONOTONIC ns of the frame: as the device says, else when it was due."""
        now = time.monotonic()
        if self._source.kind == "v4l2" and told is not None and 0 <= now - told < BELIEVED_S:
            at = told
        elif self._fast:
            at = arrival
        else:
            at = now - max(behind, 0.0) if self._paced else arrival - max(behind, 0.0)
        self._last_ns = max(int(at * 1e9), self._last_ns)
        return self._last_ns

    def _share(self, frame: Any, t_ns: int, t_s: float, before: int) -> None:
        view, counts = self._view, self._view.counts
        scene_s = t_s if self._source.own_time else t_ns / 1e9
        try:
            self._eye.see(frame, t_ns, scene_s, (before, counts["dropped"], self._flags))
        except JepadError as error:  # no room for the ring, no such group
            view.drop("unfit")
            raise Lost(str(error)) from error
        except (ValueError, OSError, MemoryError) as error:
            view.reason = f"a frame can't be used: {error}"
            view.drop("unfit")
        else:
            view.share()
            view.state, view.reason = "running", ""
            view.facts = view.facts._replace(width=frame.width, height=frame.height)
            self._flags = 0
            self._shared_at = time.monotonic()


def _busy(view: View, packets: Any) -> Any:
    """The packets; `view` says while one is waited for."""
    while True:
        view.busy_since = time.monotonic()
        packet = next(packets, None)
        view.busy_since = 0.0
        if packet is None:
            return
        yield packet
