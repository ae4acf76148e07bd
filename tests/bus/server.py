"""A process that serves a small honest service, for tests: `server.py ADDRESS [BURST]`.

Some domains of Predict are commands, so that a test can make things happen here.
"""

import asyncio
import dataclasses
import json
import os
import sys
import tempfile

import numpy as np

from jepad import journal
from jepad.bus import seam
from jepad.bus.door import open_door
from jepad.errors import NotFound
from jepad.guard.limits import Budget
from jepad.policy.alerts import Alert
from jepad.policy.jobs import Jobs
from jepad.policy.scenes import Scenes, Served
from jepad.policy.sight import Sight
from jepad.records import Risk
from tests.bus.seer import Client
from tests.policy.looking import OTHER, WEBCAM, World

RISK = Risk("memory", 0.9, 120.0, 600.0, "app.slice", "app.slice grows", {"mem.MemAvailable": 1.0})


class Service:
    version = "0.test"

    def __init__(self):
        self.door = None
        self.jobs = Jobs()
        self.eyes = Client()
        served = Served("toy", self.eyes, lambda: "running", lambda: "", lambda: ["frames.x"])
        self.pictures = Scenes(served, self.jobs)
        self.world = World(tempfile.mkdtemp(prefix="jepad-test-"))
        self.sight = Sight(lambda: self.world.cameras, lambda: True)
        self.asked = 0
        self.current = "running"
        self.words = "jepad"
        self.raised = self.cleared = None
        self.told = []

    def state(self):
        return self.current

    def mode(self):
        return "observe"

    def model_id(self):
        return "ab" * 32

    def anomaly_score(self):
        return 0.25

    def describe(self):
        return json.dumps({"pad": "x" * 8192})

    def facts(self):
        return {
            "library": seam.LIBRARY,
            "stalls": self.door.connection.stalls,
            "fds": len(os.listdir("/proc/self/fd")),
            "asked": self.asked,
            "cancelled": [*self.eyes.cancelled, ""],
        }

    def status_text(self, colour):
        dot = "\033[32m●\033[0m" if colour else "●"
        return f"{dot} {self.words}\udcff\n"

    def list_streams(self):
        return [
            {"name": "telemetry", "shape": [3], "dtype": "float64", "head": -1, "state": "live"}
        ]

    def open_stream(self, name):
        if name != "telemetry":
            raise NotFound(f"no stream {name!r}")
        return os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)

    async def reload(self):
        await asyncio.sleep(0)
        self.current = "reloaded"

    def predict(self, domain, horizon_us, options):
        self.asked += 1
        command, _, argument = domain.partition(":")
        getattr(self, f"do_{command}", lambda _: None)(argument)
        return {
            "series": ["cpu.user"],
            "units": ["tick"],
            "horizon_usec": horizon_us,
            "p10": [0.5],
            "p50": [1.0],
            "p90": [2.0],
            "confidence": 0.5,
            "part": 7 if domain == "bad" else "blend",
            "parts": ["blend"],
            "weights": [0.25],
            "silent": [],
            "model": self.model_id(),
            "age_usec": 1000,
            "source_n": len(options),
        }

    def do_boom(self, _):
        secret = "/very/secret/path"
        raise ZeroDivisionError(secret)

    def do_missing(self, _):
        raise NotFound("no such domain\0\udcff")

    def do_state(self, argument):
        self.current = argument
        self.door.tick()

    def do_words(self, words):
        self.words = words

    def do_tick(self, _):
        self.door.tick()

    def do_raise(self, number):
        self.raised(Alert(int(number), RISK, 0))

    def do_clear(self, number):
        self.cleared(Alert(int(number), RISK, 0))

    def do_burst(self, count):
        for i in range(int(count)):
            signal = ("org.jepad1.Resource", "PredictionCleared", "o")
            self.door.connection.emit("/org/jepad1/resource", signal, f"/org/jepad1/prediction/{i}")

    def do_plug(self, node):
        devices = {d.node: d for d in (WEBCAM, OTHER)}
        self.world.devices = [devices[node]] if node else []
        self.poll()

    def do_sees(self, words):
        name, surprise, present = words.split("/")
        process = self.world.process(name)
        process.sees(surprise=float(surprise), present=present == "1", reason="odd \udcff")
        self.poll()

    def poll(self):
        self.sight.cameras()
        self.polled = asyncio.ensure_future(self.world.poll())

    async def predict_action(self, asked):
        self.asked += 1
        first = asked.steps[0]
        if first.unit == "slow":
            await asyncio.sleep(0.5)
        if first.unit == "boom":
            raise ZeroDivisionError("/very/secret/path")
        if first.unit == "nobody\udcff":
            raise NotFound("no unit\0\udcff")
        told = json.dumps([asked.domain, [dataclasses.astuple(s) for s in asked.steps]])
        moment = {
            "horizon_usec": asked.horizon_us,
            "without": [[1.0, 2.0, 3.0]],
            "with": [[0.0, 1.0, float("nan")]],
            "difference": [[-2.0, -1.0, 0.0]],
        }
        return {
            "series": [told],
            "units": ["B"],
            **moment,
            "unit": first.unit,
            "confidence": float("nan"),
            "part": "model",
            "model": self.model_id(),
            "age_usec": 1000,
            "source_n": 3,
            "actions": ["freeze"],
            "steps": [moment, moment] if asked.every else None,
        }

    def plan(self, owner, wish):
        """Its first condition says what shall happen; its horizon, for how many seconds."""

        async def work(report):
            what = wish.wants[0]
            for i in range(100):
                report(i / 100, f"{what} {i}")
                await asyncio.sleep(wish.horizon_us / 1e8)
            if what == "missing":
                raise NotFound("no such thing\0\udcff")
            if what == "boom":
                raise ZeroDivisionError("/very/secret/path")
            return {
                "action": "freeze",
                "value": 1.0,
                "energies": [1.0, 0.5],
                "tried": [{"action": "freeze", "energy": 0.5}],
                "with": [[1.0, 2.0, 3.0]],
                "horizon_usec": wish.horizon_us,
                "wants": [*wish.wants, wish.domain, *wish.actions, *wish.units],
                "applied": False,
            }

        if wish.wants[0] == "refused":
            raise NotFound("no series")
        return self.jobs.start(owner, work)

    async def embed(self, array, series, dt_s):
        await asyncio.sleep(0.5 if array[0, 0] == 7 else 0)
        return np.full((2, 3), array.sum() * dt_s + len(series), dtype=np.float32)

    def scenes(self):
        return self.pictures

    def world_state(self):
        state = {"state": self.current, "source_n": 3, "surprise": float("nan")}
        state |= {"anomaly_series": []}
        return state | {"risks": {"io": 0.1}, "facts": self.facts()}

    def risks(self):
        return [RISK]

    def forecasts(self):
        return [("cpu.user", "tick", 1_000_000, 0.5, 1.0, 2.0)]

    def subscribe(self, on_raised, on_cleared):
        self.raised, self.cleared = on_raised, on_cleared


async def main(address, burst="100000"):
    journal.setup()
    service = Service()
    service.door = await open_door(service, address, Budget(burst=float(burst)))
    print("ready", flush=True)
    await service.door.closed


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
