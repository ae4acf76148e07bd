"""Cameras whose processes see what a test says."""

import msgspec

from jepad import config
from jepad.camera import wanted, wire
from jepad.camera.readers import Reader, Readers
from jepad.errors import EngineError
from jepad.guard.consent import Consent
from jepad.guard.plugged import Device
from jepad.policy.cameras import Cameras, Listener, Parts

WEBCAM = Device("video0", "v4l2:usb1/1-2:0|HD Webcam|046d-0825-1", "HD Webcam")
OTHER = Device("video2", "v4l2:usb1/1-3:0|Other|1-2-3", "Other")
SEEN = wire.Seen(
    0, "x", "running", "", "file:/x", "file", 224, 4.0, 768, 432, 10.0, "h264", 1.5, 9.0, 0.0,
    {"decoded": 5, "published": 3, "dropped": 2}, (), "", False, 0.0, 0.5, False, (),
)  # fmt: skip


class Process:
    """Stands in for a camera's process."""

    def __init__(self, name, settings, fails):
        self.name, self.settings, self.fails = name, settings, fails
        self.state, self.reason, self.restarts, self.seen = "starting", "", 0, None
        self.said = []

    async def start(self):
        if self.fails:
            raise EngineError(self.fails)
        self.state, self.seen = "running", SEEN
        self.said.append("start")

    async def stop(self):
        self.state, self.seen = "stopped", None
        self.said.append("stop")

    async def leave(self):
        self.said.append("leave")

    def sees(self, **changes):
        """From now on."""
        self.seen = msgspec.structs.replace(self.seen or SEEN, **changes)


class World:
    """What is plugged in, which processes there were, what was told."""

    def __init__(self, state, following=None):
        self.state, self.devices, self.processes, self.told = str(state), [], [], []
        self.fails = ""
        self.consent = Consent(self.state)
        self.following = following
        self.readers = 0
        self.cameras = self.make()
        self.cameras.subscribe(
            Listener(
                lambda live: self.told.append(("found", live.name, live.identity)),
                lambda live: self.told.append(("came", live.name)),
                lambda name: self.told.append(("gone", name)),
                lambda name, event: self.told.append((event, name)),
            )
        )

    def make(self):
        """Anew, as after a restart of the daemon."""
        settings = config.Config()
        return Cameras(
            Parts(
                consent=self.consent,
                plugged=lambda: list(self.devices),
                settings=lambda c, source: wanted.settings_of(c, source, settings, self.state),
                process=self._process,
                readers=self._readers,
                following=self.following,
            )
        )

    def process(self, name):
        """The newest of a camera."""
        return [p for p in self.processes if p.name == name][-1]

    async def poll(self):
        """Without waiting for the next look at devices and consents."""
        self.cameras._looked = float("-inf")
        await self.cameras.poll()

    def _process(self, live, settings):
        self.processes.append(Process(live.name, settings, self.fails))
        return self.processes[-1]

    def _readers(self, streams):
        self.readers += 1
        return Readers(tuple(Reader(s, 7, 1000, "viewer", False) for s in sorted(streams)), 2)
