"""A camera's loop at its socket.

Owns: life of the process, what it tells of itself, its end when the decoder hangs.
Does not know: how frames come about.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from jepad import journal
from jepad.camera import wire
from jepad.camera.capture import Capture
from jepad.camera.eye import Eye
from jepad.camera.settings import CameraSettings
from jepad.camera.source import Source
from jepad.camera.streams import Streams
from jepad.errors import EngineError
from jepad.worker.door import Door
from jepad.worker.every import Every

#: Looks at its own clock so often while nobody asks.
PAUSE_MS = 500
HEARTBEAT_S = 1.0
#: No call to a decoder takes so long; one that does will not come back.
STUCK_S = 30.0


@dataclass(frozen=True, slots=True)
class Camera:
    """What a server serves."""

    name: str
    source: Source
    settings: CameraSettings
    streams: Streams
    eye: Eye
    capture: Capture
    sweep: Callable[[int], object]  # (now_ns): what is too old can't be read after it


class Server:
    """Built once, run once."""

    def __init__(self, runtime: str, camera: Camera) -> None:
        self._camera = camera
        self._door: Door[wire.Request, wire.Reply] = Door(
            runtime, wire.TONGUE, wire.socket_name(camera.name)
        )
        self.barriers: tuple[str, ...] = ()
        self.stopping = False

    def run(self) -> None:
        """Until SIGTERM, SIGINT or Stop; EngineError if the decoder hangs."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "stopping", True))
        bark = Every((journal.watchdog_interval() or 0) / 2, lambda: journal.notify("WATCHDOG=1"))
        beat = Every(HEARTBEAT_S, self._beat)
        journal.notify("READY=1")
        try:
            while not self.stopping:
                if self._camera.capture.stuck_s > STUCK_S:
                    raise EngineError(f"the decoder hangs: one call takes over {STUCK_S:g} s")
                self._door.wait(PAUSE_MS)
                for asked in self._door.receive():
                    asked.answer(self._reply(asked.request))
                beat.maybe()
                bark.maybe()
        finally:
            journal.notify("STOPPING=1")
            self._camera.capture.stop()
            self._door.close()

    def _beat(self) -> None:
        self._camera.streams.beat()
        self._camera.sweep(time.monotonic_ns())

    def _reply(self, request: wire.Request) -> wire.Reply:
        if isinstance(request, wire.Look):
            return self._seen(request.id)
        if isinstance(request, wire.Stop):
            self.stopping = True
        capture = self._camera.capture
        return wire.Pong(request.id, capture.view.state, int(capture.stuck_s * 1000))

    def _seen(self, number: int) -> wire.Seen:
        camera, view, eye = self._camera, self._camera.capture.view, self._camera.eye
        facts = view.facts
        return wire.Seen(
            number,
            name=camera.name,
            state=view.state,
            reason=view.reason,
            source=camera.source.shown,
            kind=camera.source.kind,
            size=camera.settings.size,
            fps=camera.settings.fps,
            width=facts.width,
            height=facts.height,
            rate=facts.rate,
            codec=facts.codec,
            position_s=view.position_s,
            length_s=facts.length_s,
            behind_s=view.behind_s,
            counts=view.tally(),
            filters=eye.filters.names,
            filter_state=eye.filters.state,
            present=eye.present,
            presence=eye.presence,
            surprise=eye.surprise,
            surprising=eye.surprising,
            barriers=self.barriers,
        )
