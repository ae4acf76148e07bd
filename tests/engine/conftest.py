"""A real engine process beside a real telemetry stream of this machine, played fast."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from jepad.paths import Places, Roots
from jepad.ring.layout import Layout
from jepad.ring.writer import Writer
from jepad.sources.registry import build
from jepad.sources.snapshot import Snapshot

PATIENCE_S = 50
SOURCES = ("cpu", "memory", "psi", "vmstat")


def until(check, patience_s=PATIENCE_S):
    """What `check` returns once it is true; how long that takes is not the matter."""
    end = time.monotonic() + patience_s
    while not (found := check()):
        assert time.monotonic() < end, f"still waiting for {check}"
        time.sleep(0.02)
    return found


class Telemetry:
    """Samples this machine, a second each by its own clock, twenty in a true one."""

    def __init__(self, prefix, names=SOURCES, before=None):
        """`before` is one whose time goes on here, under another set of series."""
        self.snapshot = Snapshot(build(Roots(), names))
        series = [
            {"name": s.name, "unit": s.unit, "semantics": s.semantics} for s in self.snapshot.series
        ]
        schema = {"series": series, "interval_s": 1.0}
        layout = Layout("telemetry", np.float64, (len(series),), schema, 2048)
        self.writer = Writer.create(prefix, layout)
        self.n = -1
        self._first_s = before.now_s + 1 if before else 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play)

    def sample(self):
        values = self.snapshot.take().values
        self.n = self.writer.publish(values, (self.now_s + 1) * 10**9)

    @property
    def now_s(self):
        return self._first_s + self.n

    def play(self):
        self._thread.start()

    def _play(self):
        while not self._stop.wait(0.05):
            self.sample()

    def stop(self):
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def retire(self):
        self.stop()
        self.writer.retire()


@pytest.fixture
def places(tmp_path, prefix):
    runtime = f"/tmp/{prefix}"  # tmp_path may be too long for a socket
    yield Places(runtime, str(tmp_path), "", prefix)
    for name in os.listdir(runtime) if os.path.isdir(runtime) else ():
        os.unlink(f"{runtime}/{name}")
    if os.path.isdir(runtime):
        os.rmdir(runtime)


@pytest.fixture
def telemetry(prefix):
    made = Telemetry(prefix)
    for _ in range(40):
        made.sample()
    made.play()
    yield made
    made.retire()


@pytest.fixture
def engine(places):
    """engine(*flags) starts one; all are gone afterwards."""
    started = []

    def start(*flags, env=None):
        command = [sys.executable, "-m", "jepad.engine", "--runtime", places.runtime]
        command += ["--prefix", places.shm_prefix, *flags]
        child = subprocess.Popen(
            command, env=os.environ | (env or {}), stderr=subprocess.PIPE, text=True
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        child.stderr.close()
