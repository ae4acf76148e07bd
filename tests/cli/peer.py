"""A small org.jepad1 on a private bus, for tests of the client alone: answers, refuses, signals."""
# ruff: noqa: F722, F821  D-Bus signatures are written as annotations

import asyncio
import json
import sys

from dbus_fast import DBusError, PropertyAccess, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal


class Manager(ServiceInterface):
    def __init__(self, resource):
        super().__init__("org.jepad1.Manager")
        self.resource = resource
        self._state = "running"

    @dbus_method()
    def Describe(self) -> "s":
        known = {
            "units": ["app.slice", "a\x1b[2J"],
            "pid": 7,
            "engine": "running",
            "sources": [],
            "risks": [],
        }
        return json.dumps({"state": self._state, "version": "0", **known})

    @dbus_method()
    def Status(self, colour: "b") -> "s":
        return ("\x1b[32m●\x1b[0m" if colour else "●") + " jepad \x1b]0;title\x07 end"

    @dbus_method()
    async def Slow(self) -> "s":
        await asyncio.sleep(30)
        return "late"

    @dbus_method()
    def Raise(self):
        """Change the state, raise a prediction and clear it: what `watch` should tell."""
        self._state = "degraded"
        self.emit_properties_changed({"State": "degraded"})
        self.resource.PredictionRaised()
        self.resource.PredictionCleared()

    @dbus_property(access=PropertyAccess.READ)
    def State(self) -> "s":
        return self._state


class WorldModel(ServiceInterface):
    def __init__(self):
        super().__init__("org.jepad1.WorldModel")

    @dbus_method()
    def Predict(self, domain: "s", horizon: "t", options: "a{sv}") -> "a{sv}":
        if domain == "gpu":
            raise DBusError("org.jepad1.Error.NotFound", "no series of gpu here")
        if domain == "thermal":
            raise DBusError("org.jepad1.Error.NotReady", "no forecast: temp.x has no samples")
        if domain == "bad":
            raise DBusError("org.jepad1.Error.InvalidArgument", "horizon is out of range")
        return {
            "series": Variant("as", [f"{domain}.one", f"{domain}.two"]),
            "units": Variant("as", ["KiB", "%"]),
            "horizon_usec": Variant("t", horizon),
            "p10": Variant("ad", [1.0, 2.0]),
            "p50": Variant("ad", [2.0, float("nan")]),
            "p90": Variant("ad", [3.0, 4e6]),
            "confidence": Variant("d", 0.75),
            "part": Variant("s", "blend"),
            "parts": Variant("as", ["model", "blend"]),
            "weights": Variant("ad", [1.0, 0.25]),
            "silent": Variant("as", [f"{domain}.mute\x1b"] if domain == "memory" else []),
            "model": Variant("s", "ab" * 32),
            "age_usec": Variant("t", 400_000),
            "source_n": Variant("t", 41),
        }

    @dbus_method()
    def PredictAction(
        self, domain: "s", action: "s", parameters: "a{sv}", horizon: "t", options: "a{sv}"
    ) -> "a{sv}":
        if action == "power.profile":
            raise DBusError("org.jepad1.Error.NotReady", "it has never been measured")
        if action == "freeze" and not parameters:
            raise DBusError("org.jepad1.Error.InvalidArgument", "freeze wants a unit")
        asked = {"parameters": parameters, "options": options}
        told = {
            key: {k: (v.signature, v.value) for k, v in given.items()}
            for key, given in asked.items()
        }
        rows = {
            "without": [[0.5, 1.0, 2.0], [90.0, 100.0, 110.0], [1.0, 2.0, 3.0]],
            "with": [[0.0, 0.5, 1.0], [-10.0, 0.0, 10.0], [1.0, 2.0, float("nan")]],
            "difference": [[-1.0, -0.5, 0.5], [-120.0, -100.0, -80.0], [-1.0, 0.0, 1.0]],
        }
        moment = {k: Variant("a(ddd)", v) for k, v in rows.items()}
        names = ["cgroup.app.slice/x\x1b[2J.memory_current", "cpu.busy", "load1"]
        answer = moment | {
            "series": Variant("as", names),
            "units": Variant("as", ["KiB", "tick/s", ""]),
            "unit": Variant("s", "app.slice/x\x1b[2J"),
            "horizon_usec": Variant("t", horizon),
            "confidence": Variant("d", 0.75),
            "part": Variant("s", "model"),
            "model": Variant("s", "ab" * 32),
            "age_usec": Variant("t", 400_000),
            "source_n": Variant("x", 41),
            "actions": Variant("as", ["freeze"]),
            "told": Variant("s", json.dumps([domain, action, told])),
        }
        if "steps" in options:
            steps = [moment | {"horizon_usec": Variant("t", n * 10**6)} for n in (1, 64)]
            answer["steps"] = Variant("aa{sv}", steps)
        return answer


class Resource(ServiceInterface):
    def __init__(self):
        super().__init__("org.jepad1.Resource")

    @dbus_signal()
    def PredictionRaised(self) -> "osdta{sv}":
        why = {"cause": Variant("s", "it grows\x1b[2J"), "unit": Variant("s", "a.slice")}
        return ["/org/jepad1/prediction/7", "memory", 0.83, 45_000_000, why]

    @dbus_signal()
    def PredictionCleared(self) -> "o":
        return "/org/jepad1/prediction/7"


async def main():
    bus = await MessageBus(bus_address=sys.argv[1]).connect()
    resource = Resource()
    bus.export("/org/jepad1", Manager(resource))
    bus.export("/org/jepad1", WorldModel())
    bus.export("/org/jepad1/resource", resource)
    await bus.request_name("org.jepad1")
    print("ready", flush=True)
    await bus.wait_for_disconnect()


asyncio.run(main())
