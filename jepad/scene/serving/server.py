"""The scene engine's loop at the socket.

Owns: life of the process, what it tells of itself. Does not know: how anything is computed.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from jepad import journal
from jepad.errors import EngineError
from jepad.models.library import Installed
from jepad.scene import wire
from jepad.scene.budget import resident
from jepad.scene.following.followers import Followers
from jepad.scene.following.seer import Seer
from jepad.scene.serving.aside import Aside
from jepad.scene.serving.batch import Batch
from jepad.scene.serving.desk import Desk
from jepad.scene.serving.host import Host
from jepad.scene.serving.job import Jobs
from jepad.scene.serving.mill import Mill
from jepad.scene.serving.work import Work
from jepad.worker.door import Door
from jepad.worker.every import Every

#: Looks at its own clock so often while nobody asks.
PAUSE_MS = 500
#: Between looks for what was published of a stream and is too old to be kept.
SWEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    runtime: str
    name: str = ""  # of the socket; "" = scene


class Server:
    """Built once, run once."""

    def __init__(self, options: Options, installed: Installed, work: Work, host: Host) -> None:
        self._installed, self._work, self._host = installed, work, host
        self._batch, self._jobs = Batch(host, most=work.most), Jobs(host)
        self._mill = Mill(self._batch, self._jobs)
        self._aside = Aside(host, self._mill)
        self._followers = Followers(work.prefix, Seer(work.model, self._aside))
        self._desk = Desk(work, self._mill, host, self._jobs, self._status)
        self._door: Door[wire.Request, wire.Reply] = Door(
            options.runtime, wire.TONGUE, options.name
        )  # fmt: skip
        self._door.wake_by(self._mill.wake)
        self.stopping = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT; EngineError if computing ended by itself."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "stopping", True))
        bark = Every((journal.watchdog_interval() or 0) / 2, lambda: journal.notify("WATCHDOG=1"))
        sweep = Every(SWEEP_S, self._followers.sweep)
        self._mill.start()
        journal.notify("READY=1")
        try:
            while not self.stopping:
                if self._mill.failed:
                    raise EngineError("computing ended by a fault: see the log")
                self._door.wait(PAUSE_MS)
                self._mill.told()
                for asked in self._door.receive():
                    self._desk.take(asked)
                sweep.maybe()
                bark.maybe()
        finally:
            journal.notify("STOPPING=1")
            self._aside.close()
            self._followers.stop()
            self._mill.stop()
            self._door.close()

    def _status(self, request: wire.Request) -> wire.Reply:
        host = self._host
        if isinstance(request, wire.Follow | wire.Unfollow | wire.Followed):
            return self._followers.take(request)
        if isinstance(request, wire.Ping):
            busy = max(self._mill.busy_ms, self._aside.busy_ms)
            waiting = self._mill.waiting
            return wire.Pong(request.id, host.device, busy, waiting, host.free_bytes)
        if isinstance(request, wire.Stats):
            return wire.Counted(request.id, self._stats())
        model, manifest = self._work.model, self._installed.manifest
        encoder, action = model.encoder, model.action
        return wire.Described(
            request.id,
            model=manifest.name,
            version=manifest.version,
            digest=model.digest,
            device=host.device,
            precision=host.precision,
            size=encoder.size,
            frames=encoder.frames,
            tubelet=encoder.tubelet,
            patch=encoder.patch,
            width=encoder.width,
            parts=model.parts,
            actions=action.actions if action else 0,
            states=action.states if action else 0,
            resident_bytes=resident(self._installed, host.precision),
            random=manifest.random,
            reason=host.reason,
            accuracy=wire.accuracy(host.gate),
            classes=model.probe.classes if model.probe else 0,
            image=encoder.image,
        )

    def _stats(self) -> dict[str, float]:
        batch, door, cache = self._batch, self._door.counts, self._work.cache
        return {
            "requests": door.requests,
            "malformed": door.malformed,
            "runs": batch.runs,
            "calls": batch.calls,
            "late": batch.late,
            "largest_batch": batch.largest,
            "waiting": self._mill.waiting,
            "jobs": self._jobs.active,
            "followed": len(self._followers),
            "cache_hits": cache.hits,
            "cache_misses": cache.misses,
            "cache_bytes": cache.bytes,
            "device_losses": self._host.losses,
        }
