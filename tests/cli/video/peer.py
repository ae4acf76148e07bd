"""A small org.jepad1 that serves pictures, on a private bus: what it got and gives are known."""
# ruff: noqa: F722, F821  D-Bus signatures are written as annotations

import asyncio
import io
import json
import os
import sys

import numpy as np
from dbus_fast import DBusError, PropertyAccess, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

MODEL = {
    "state": "running", "reason": "", "model": "served", "version": "2.0", "digest": "ab" * 32,
    "device": "cpu", "size": 32, "frames": 4, "tubelet": 2, "states": 2, "random": False,
    "image": bool(os.environ.get("IMAGE")),
}  # fmt: skip
JOB = "/org/jepad1/job/1"


def content(fd):
    """The array behind a descriptor."""
    try:
        return np.load(io.BytesIO(os.pread(fd, os.fstat(fd).st_size, 0)))
    finally:
        os.close(fd)


def packed(array):
    """A descriptor with that array behind it."""
    fd = os.memfd_create("answer")
    np.lib.format.write_array(os.fdopen(os.dup(fd), "wb"), array)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


class Manager(ServiceInterface):
    def __init__(self):
        super().__init__("org.jepad1.Manager")

    @dbus_method()
    def Describe(self) -> "s":
        return json.dumps({"state": "running", "scene": MODEL})


class WorldModel(ServiceInterface):
    def __init__(self, job):
        super().__init__("org.jepad1.WorldModel")
        self.job, self.calls = job, 0

    @dbus_method()
    def EmbedFrames(self, frames: "v", options: "a{sv}") -> "a{sv}":
        self.calls += 1
        if os.environ.get("LATE"):
            raise DBusError("org.jepad1.Error.Late", "not within 60 s")
        clip = content(frames.value)
        if self.calls == 2:  # once: whoever asks waits and asks again
            raise DBusError("org.jepad1.Error.RateLimited", "too many. retry-after: 0.01 s")
        shown = [float(clip.shape[0]), float(clip.shape[1]), float(clip.mean())]
        values = np.array(shown, np.float32)
        if options["pool"].value == "tokens":
            values = np.stack([values, values + 2])
        wanted = options["classes"].value if "classes" in options else 0
        known = {} if not wanted else {
            "classes": Variant("at", [7, 2, 9][:wanted]),
            "probabilities": Variant("ad", [0.5, 0.25, 0.125][:wanted]),
        }  # fmt: skip
        model = "cd" * 32 if os.environ.get("CHANGED") else MODEL["digest"]
        return known | {"embedding": Variant("h", packed(values)), "model": Variant("s", model)}

    @dbus_method()
    def Plan(self, domain: "s", goal: "a{sv}", options: "a{sv}") -> "o":
        start, end = content(options["start"].value), content(goal["frames"].value)
        plain = {k: v.value for k, v in options.items() if k != "start"}
        self.job.begin([domain, start.shape, end.shape, plain])
        return JOB


class Job(ServiceInterface):
    def __init__(self):
        super().__init__("org.jepad1.Job")
        self.asked, self.polls, self.cancelled = [], 0, False

    def begin(self, asked):
        self.asked, self.polls = asked, 0

    @dbus_property(access=PropertyAccess.READ)
    def State(self) -> "s":
        self.polls += 1
        if os.environ.get("ENDLESS"):
            return "cancelled" if self.cancelled else "running"
        if os.environ.get("FAILING"):
            return "failed"
        return "done" if self.polls > 2 else "running"

    @dbus_property(access=PropertyAccess.READ)
    def Progress(self) -> "(isi)":
        return [50, "half", 1]

    @dbus_property(access=PropertyAccess.READ)
    def Error(self) -> "(ss)":
        failing = os.environ.get("FAILING")
        return ["org.jepad1.Error.NotFound", "nowhere to go"] if failing else ["", ""]

    @dbus_property(access=PropertyAccess.READ)
    def Result(self) -> "a{sv}":
        return {
            "action": Variant("ad", [0.5, -0.25]),
            "names": Variant("as", ["dx", "dy"]),
            "energies": Variant("ad", [2.0, 1.0]),
            "landscape": Variant("ad", [1.0, 2.0, 3.0, 4.0]),
            "landscape_shape": Variant("ax", [2, 2]),
            "landscape_axes": Variant("as", ["dx", "dy"]),
            "landscape_low": Variant("ad", [-1.0, -1.0]),
            "landscape_high": Variant("ad", [1.0, 1.0]),
            "told": Variant("s", json.dumps(self.asked)),
        }

    @dbus_method()
    def Cancel(self):
        self.cancelled = True


async def main():
    bus = await MessageBus(bus_address=sys.argv[1], negotiate_unix_fd=True).connect()
    job = Job()
    bus.export("/org/jepad1", Manager())
    bus.export("/org/jepad1", WorldModel(job))
    bus.export(JOB, job)
    await bus.request_name("org.jepad1")
    print("ready", flush=True)
    await bus.wait_for_disconnect()


asyncio.run(main())
