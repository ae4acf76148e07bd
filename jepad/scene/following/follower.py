"""Follows one stream of frames: each is read, those worth it are embedded, and published.

Owns: when a clip is encoded, and that a quiet or a late stream costs nothing.
Does not know: what an embedding is, how rings are laid out, who asked.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import Counter
from typing import Literal

from jepad.errors import JepadError, Lapped
from jepad.records import GAP
from jepad.ring.stream import Frame
from jepad.scene import wire
from jepad.scene.following.due import Due
from jepad.scene.following.expectation import Expectation
from jepad.scene.following.film import Film
from jepad.scene.following.outlet import Newest, Outlet, Pace
from jepad.scene.following.seer import Seer
from jepad.scene.following.source import Source
from jepad.scene.following.verdicts import Verdicts

State = Literal["running", "waiting", "ended", "failed"]

log = logging.getLogger(__name__)

#: Added to the thread's niceness: whoever asks, and telemetry, come first.
NICE = 10
#: Waits for a frame at most so long, then looks whether there is anything else.
PAUSE_S = 0.25
#: After the model failed; it may be on its way to another device.
PATIENCE_S = 1.0


class Follower(threading.Thread):
    """start(), say(), stop(); ends by itself once its stream did and nothing of it is left."""

    def __init__(self, prefix: str, watched: wire.Watched, seer: Seer) -> None:
        """NotFound, RingError, SettingError: what can't be followed, by name."""
        super().__init__(name=f"follows {watched.stream}", daemon=True)
        self.watched = watched
        self._seer = seer
        with contextlib.ExitStack() as undo:
            self._source = Source(prefix, watched.stream)
            undo.callback(self._source.close)
            self._verdicts = Verdicts(prefix, watched.gate) if watched.gate else None
            if self._verdicts is not None:
                undo.callback(self._verdicts.close)
            pace = Pace(self._source.fps, seer.unit, seer.window(watched.window))
            self._outlet = Outlet(prefix, watched, seer, pace)
            undo.pop_all()
        self._film = Film(pace.window, self._source.shape)
        self._expectation = Expectation(not seer.why)
        self._due = Due(watched.every, pace.unit, pace.window, watched.refresh_s)
        self._steps = max(self._outlet.steps, 0 if seer.why else watched.every)
        self._gap = True
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._state: State = "running"
        self._reason = ""
        self._newest = -1
        self._counts: Counter[str] = Counter(
            frames=0, encoded=0, still=0, behind=0, lapped=0, missing=0, published=0, failures=0
        )
        self._took_ms = self._age_ms = 0.0

    @property
    def reads(self) -> bool:
        """Does it wait for frames still?"""
        return self._state in ("running", "waiting") and not self._over.is_set()

    def say(self, number: int) -> wire.Following:
        """How it is, as the reply to request `number`."""
        why, outlet = self._seer.why, self._outlet
        counts = {name: float(count) for name, count in self._counts.items()}
        counts |= {"encode_ms": self._took_ms, "age_ms": self._age_ms}
        return wire.Following(
            number, self.watched.stream, outlet.embeddings, outlet.predictions, self._state,
            self._reason, outlet.learned, "usual" if why else "predicted", why, self._newest,
            counts,
        )  # fmt: skip

    def sweep(self) -> None:
        """Wipe what may not be read any more; not by this thread, which may compute for long."""
        self._outlet.sweep()

    def stop(self) -> None:
        """At once: what it computes still is not published. Its rings are wiped and retired."""
        with self._lock:
            self._over.set()
            self._state, self._reason = "ended", "nobody follows it any more"
        self._outlet.close()

    def run(self) -> None:
        """The thread."""
        with contextlib.suppress(OSError):
            here = threading.get_native_id()
            niceness = os.getpriority(os.PRIO_PROCESS, here) + NICE
            os.setpriority(os.PRIO_PROCESS, here, niceness)
        try:
            while not self._over.is_set():
                self._turn()
        except Exception as error:  # a fault of ours ends this stream, no other
            log.exception("%s is followed no more", self.watched.stream)
            self._become("failed", f"following it failed: {error!r}")
        finally:
            self._outlet.close()
            self._source.close()
            if self._verdicts is not None:
                self._verdicts.close()

    def _turn(self) -> None:
        """The next frame, or what there is to do without one."""
        if self._state in ("ended", "failed"):
            self._last()
            return
        try:
            frame = self._source.next(self._film.slot, PAUSE_S)
        except Lapped:
            self._counts["lapped"] += 1
            self._missed()
            return
        if frame is None:
            self._look_around()
            return
        if self._state != "running":
            self._become("running", "")
        self._take(frame)

    def _take(self, frame: Frame) -> None:
        self._counts["frames"] += 1
        if frame.flags & GAP:
            self._missed()
        self._film.take()
        moved = None if self._verdicts is None else self._verdicts.of(frame.n)
        if moved is None and self._verdicts is not None:
            self._counts["missing"] += 1
        why = self._due.frame(moved is not False, frame.t_ns, self._film.count)
        if not why:
            return
        if why == "still":
            self._counts["still"] += 1
        elif self._source.waiting >= self._seer.unit:
            self._counts["behind"] += 1  # a newer clip can be had already
            self._due.behind()
        else:
            self._encode(frame)

    def _encode(self, frame: Frame) -> None:
        began = time.monotonic()
        step = self._film.count // self._seer.unit
        try:
            look = self._seer.look(self._film.clip(self._seer.unit), self._steps)
        except JepadError as error:
            self._counts["failures"] += 1
            self._reason = str(error)
            log.warning("%s: %s", self.watched.stream, error)
            self._over.wait(PATIENCE_S)
            return
        measured = self._expectation.measure(look, step, self._due.quiet)
        self._due.encoded(frame.t_ns)
        self._outlet.publish(look, measured, Newest(frame.n, frame.t_ns, self._gap))
        now = time.monotonic()
        self._took_ms, self._age_ms = (now - began) * 1e3, now * 1e3 - frame.t_ns / 1e6
        self._counts["encoded"] += 1
        if not self._over.is_set():
            self._newest, self._gap, self._reason = frame.n, False, ""
            self._counts["published"] += 1

    def _missed(self) -> None:
        """What comes does not follow on what was."""
        self._film.clear()
        self._due.restart()
        self._expectation.gap()
        self._gap = True

    def _look_around(self) -> None:
        """No frame came: does one still come?"""
        told = self._source.state()
        if told == "ended":
            self._become("ended", f"stream {self.watched.stream} was retired")
        elif told == "waiting":
            self._become("waiting", f"nobody writes {self.watched.stream} now")
        elif told == "renewed":
            self._renew()
        elif self._state != "running":
            self._become("running", "")

    def _renew(self) -> None:
        try:
            self._source.renew()
        except JepadError as error:
            self._become("failed", str(error))
            return
        self._film = Film(self._film.length, self._source.shape)
        if self._verdicts is not None:
            self._verdicts.reopen()
        self._missed()

    def _become(self, state: State, reason: str) -> None:
        """Unless it was stopped."""
        with self._lock:
            if not self._over.is_set():
                self._state, self._reason = state, reason

    def _last(self) -> None:
        """Until what was published is too old to be read."""
        self._over.wait(PAUSE_S)
        if self._outlet.empty:
            self._over.set()
