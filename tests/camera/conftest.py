"""Small films, good and bad, and camera processes of their own."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time

import av
import numpy as np
import pytest

from jepad.camera import source, wire
from jepad.camera.capture import Capture
from jepad.camera.eye import Eye
from jepad.camera.guarded import Guarded
from jepad.camera.settings import CameraSettings
from jepad.camera.streams import Streams
from jepad.errors import JepadError
from jepad.worker.link import Link

PATIENCE_S = 60


def until(check, patience_s=PATIENCE_S):
    """What `check` returns once it is true; how long that takes is not the matter."""
    end = time.monotonic() + patience_s
    while not (found := check()):
        assert time.monotonic() < end, f"still waiting for {check}"
        time.sleep(0.02)
    return found


@pytest.fixture
def film(tmp_path):
    """film(name, frames, size, rate, codec): its path; a bright bar moves over a grey ground."""

    def make(name="film.mp4", frames=24, size=(96, 128), rate=8, codec="mpeg4"):
        path = str(tmp_path / name)
        with av.open(path, "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p"
            for n in range(frames):
                pixels = np.full((*size, 3), 90, np.uint8)
                at = (n * 4) % size[1]
                pixels[:, at : at + 8] = 220
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
            container.mux(stream.encode())
        return path

    return make


@pytest.fixture
def capture(prefix):
    """capture(spec, **settings): a thread that looks; ended with the test."""
    made = []

    def begin(spec, **settings):
        settings = {"size": 64, "fast": True} | settings
        wanted = CameraSettings(source=spec, **settings)
        given = source.source(spec, wanted.fps)
        streams = Streams(prefix, "one", wanted)
        eye = Eye(wanted.size, Guarded(wanted), streams)
        one = Capture(given, wanted, streams, eye)
        file = source.opened(given.url) if given.kind == "file" else -1
        made.append((one, file))
        one.start(file)
        return one

    yield begin
    for one, file in made:
        assert one.stop(10)
        if file >= 0:
            os.close(file)


@pytest.fixture
def over(capture):
    """over(spec, **settings): how a source ended, and how many frames; the sum holds."""

    def end(spec, **settings):
        one = capture(spec, **settings)
        until(lambda: one.view.state in ("ended", "failed"))
        counts = one.view.counts
        assert counts["decoded"] == counts["published"] + counts["dropped"]
        assert counts["dropped"] == counts["thinned"] + counts["late"] + counts["unfit"]
        return one.view

    return end


class Process:
    """A camera process."""

    def __init__(self, runtime, prefix, settings, name):
        self.runtime, self.name = runtime, name
        path = f"{runtime}/camera-{name}.json"
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(json.dumps({"size": 64} | settings))
        self.child = subprocess.Popen(
            [sys.executable, "-m", "jepad.camera", "--name", name, "--runtime", runtime,
             "--prefix", prefix, "--parent", str(os.getpid())],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, kind=wire.Look, timeout=PATIENCE_S):
        """Its answer, waited for."""

        async def run():
            link = Link(f"ipc://{self.runtime}/camera-{self.name}.sock", wire.TONGUE)
            reply = wire.Seen if kind is wire.Look else wire.Pong
            try:
                return (await link.ask(reply, kind, timeout)).reply
            finally:
                await link.close()

        return asyncio.run(run())

    def seen(self, *states, wanted=lambda _seen: True):
        """Its answer once it is in one of these states, and as wanted."""

        def check():
            try:
                said = self.ask(timeout=5)
            except JepadError:
                assert self.child.poll() is None, self.child.stderr.read()
                return None
            return said if said.state in states and wanted(said) else None

        return until(check)

    def end(self):
        """Its exit code and words."""
        self.child.terminate()
        return self.child.wait(PATIENCE_S), self.child.stderr.read()


@pytest.fixture
def process(prefix):
    """process(name="one", **settings): a camera process, ended with the test."""
    runtime = f"/tmp/{prefix}"  # tmp_path may be too long for a socket
    os.mkdir(runtime, 0o700)
    made = []

    def begin(name="one", **settings):
        made.append(Process(runtime, prefix, settings, name))
        return made[-1]

    yield begin
    for one in made:
        one.child.kill()
        one.child.wait(PATIENCE_S)
        one.child.stderr.close()
    shutil.rmtree(runtime)
