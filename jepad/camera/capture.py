"""The thread that looks: opens a source, plays it, and knows what to do when it is over or lost.

Owns: the thread, the state, back-off. Does not know codecs, filters or the socket.
"""

from __future__ import annotations

import logging
import threading
import time

from jepad.camera.container import Container, Lost
from jepad.camera.eye import Eye
from jepad.camera.reel import Reel
from jepad.camera.settings import CameraSettings
from jepad.camera.source import Source
from jepad.camera.streams import Streams
from jepad.camera.view import View

log = logging.getLogger(__name__)

FIRST_DELAY_S, LAST_DELAY_S = 0.5, 30.0
#: Frames for so long: the next loss begins at the first delay.
GOOD_S = 10.0
#: A stream of the network may be away for so long before its readers are told.
GRACE_S = 10.0


class Capture:
    """start(), look at `view`, stop()."""

    def __init__(
        self, source: Source, settings: CameraSettings, streams: Streams, eye: Eye
    ) -> None:
        self.view = View()
        self._source, self._settings = source, settings
        self._streams, self._eye = streams, eye
        self._reel = Reel(source, settings, eye, self.view)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._file = -1
        self._lost_at = 0.0

    def start(self, file: int = -1) -> None:
        """Begin; `file` is the descriptor of a file: source."""
        self._file = file
        self._thread.start()

    def fail(self, reason: str) -> None:
        """There is nothing to begin with."""
        self._over("failed", reason)

    def stop(self, patience_s: float = 2.0) -> bool:
        """Nothing is shared after this; True if the thread is through."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(patience_s)
        self._streams.retire(last=True)
        return not self._thread.is_alive()

    @property
    def stuck_s(self) -> float:
        """How long one call to the decoder already takes."""
        since = self.view.busy_since
        return max(time.monotonic() - since, 0.0) if since else 0.0

    def _run(self) -> None:
        delay = FIRST_DELAY_S
        while not self._stop.is_set():
            began = time.monotonic()
            before = self.view.counts["published"]
            lost, why = self._once()
            if self._stop.is_set():
                return
            if self._finite(lost):
                if not self._next_round(why, self.view.counts["published"] - before):
                    return
                continue
            delay = FIRST_DELAY_S if time.monotonic() - began > GOOD_S else delay
            self._away(why or "the stream ended", began)
            self._stop.wait(delay)
            delay = min(delay * 2, LAST_DELAY_S)

    def _once(self) -> tuple[bool, str]:
        """One opening to its end: whether it was lost, and why it was not whole."""
        counts = self.view.counts
        self.view.busy_since = time.monotonic()
        try:
            container = Container(self._source, self._file)
            counts["opens"] += 1
            try:
                return False, self._reel.play(container, self._stop)
            finally:
                container.close()
        except Lost as error:
            counts["failures"] += 1
            return True, str(error)
        except MemoryError:
            counts["failures"] += 1
            return True, "it needs too much memory"
        except Exception as error:  # of ours: told and tried again, no silent end of the thread
            counts["failures"] += 1
            log.exception("the camera can't be looked at")
            return True, f"a fault of jepad: {error!r}"
        finally:
            self.view.busy_since = 0.0
            self._reel.again()

    def _finite(self, lost: bool) -> bool:
        """Whether this was all of it, and no attempt can give more."""
        return self._source.own_time or (not lost and self.view.facts.length_s > 0)

    def _next_round(self, why: str, shared: int) -> bool:
        """After the end of a film: whether it begins again."""
        if shared and self._settings.loop:
            return True
        if self.view.counts["published"]:
            self._over("ended", why)
        else:
            self._over("failed", why or self.view.reason or "no frame of it can be decoded")
        return False

    def _away(self, why: str, began: float) -> None:
        """Say so; readers of a device that was pulled are told at once."""
        view = self.view
        if view.state != "waiting":
            log.warning("%s: %s", self._source.shown, why)
            self._lost_at = time.monotonic() if view.state == "running" else began
        view.state, view.reason = "waiting", why
        if not self._source.networked or time.monotonic() - self._lost_at > GRACE_S:
            self._streams.retire()
            self._eye.forget()

    def _over(self, state: str, why: str) -> None:
        view = self.view
        view.reason = why
        view.state = "ended" if state == "ended" else "failed"
        self._streams.retire()
        self._eye.forget()
