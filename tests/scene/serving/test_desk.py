"""From a request to its answer without a socket: a device is lost in between, a mill is full."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from jepad.errors import DeviceLost, EngineError, Late
from jepad.scene import onnx, wire
from jepad.scene.model import Model
from jepad.scene.serving.batch import Batch
from jepad.scene.serving.desk import Desk
from jepad.scene.serving.host import Host
from jepad.scene.serving.job import Jobs
from jepad.scene.serving.mill import Mill
from jepad.scene.serving.work import Work
from jepad.worker.door import Asked
from tests.scene.conftest import until

FAR = 1 << 62


class Fragile:
    """A backend that is a GPU's until it breaks."""

    device = "cuda:0"

    def __init__(self, inner):
        self._inner, self.broken = inner, False

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def encode(self, *args):
        if self.broken:
            raise DeviceLost("CUDA error: unspecified launch failure")
        return self._inner.encode(*args)

    def act(self, *args):
        if self.broken:
            raise DeviceLost("CUDA error: unspecified launch failure")
        return self._inner.act(*args)


class Rig:
    """A desk and its mill, which is turned by hand unless it is started."""

    def __init__(self, installed):
        self.fragile = Fragile(onnx.load(installed))
        self.host = Host(lambda lost: onnx.load(installed) if lost else self.fragile)
        self.work = Work(Model(installed.manifest), "jepad-test")
        jobs = Jobs(self.host)
        self.mill = Mill(Batch(self.host), jobs)
        self.desk = Desk(self.work, self.mill, self.host, jobs, lambda r: wire.Counted(r.id, {}))
        self.replies = {}

    def ask(self, request, *arrays):
        def answer(reply, parts=()):
            assert reply.id not in self.replies
            self.replies[reply.id] = SimpleNamespace(reply=reply, parts=list(parts))

        self.desk.take(Asked(request, [a.tobytes() for a in arrays], answer))

    def turn(self):
        """Until everything that was asked is answered."""

        def answered():
            self.mill._turn()
            self.mill.told()
            return not self.mill.waiting

        until(answered)


def blob(array, part=0):
    return wire.Blob(array.shape, "u1" if array.dtype == np.uint8 else "f4", part)


@pytest.fixture
def rig(model):
    return Rig(model())


def embed(rig, number, frames, deadline=FAR):
    rig.ask(wire.EmbedFrames(number, deadline, blob(frames)), frames)


def test_a_lost_device_costs_its_requests_and_no_others(rig, clip):
    embed(rig, 1, clip(2, 1))
    rig.turn()
    assert rig.replies[1].reply.device == "cuda:0"
    rig.fragile.broken = True
    embed(rig, 2, clip(2, 2))
    embed(rig, 3, clip(4, 3))  # of another shape: another run
    rig.turn()
    assert rig.replies[2].reply.bus_name == DeviceLost.bus_name
    assert rig.replies[3].reply.device == "cpu"
    embed(rig, 4, clip(2, 1))
    rig.turn()
    assert (rig.replies[4].reply.device, rig.replies[4].reply.cached) == ("cpu", False)
    assert "cuda:0 was lost" in rig.host.reason


def test_a_plan_on_a_lost_device_fails_by_name(model, clip):
    rig = Rig(model("vitg-256-ac"))
    start, goal = clip(1), clip(1, 2)
    search = wire.Search(samples=8, elites=2, iterations=50, horizon=1)
    request = wire.PlanStart(1, FAR, blob(start), blob(goal, 1), (0.0,) * 7, search=search)
    rig.ask(request, start, goal)
    for _ in range(6):
        rig.mill._turn()
    rig.mill.told()
    job = rig.replies[1].reply.job
    rig.ask(wire.JobStatus(2, FAR, job))
    assert rig.replies[2].reply.state == "running"
    rig.fragile.broken = True
    rig.turn()
    rig.ask(wire.JobStatus(3, FAR, job))
    said = rig.replies[3].reply
    assert said.state == "failed"
    assert said.error[0] == DeviceLost.bus_name


def test_a_plan_is_the_same_whatever_fits_into_memory(model, clip, monkeypatch):
    """Batched and one sample at a time: the same choice."""
    plans = []
    for most in (64, 1):
        monkeypatch.setattr("jepad.scene.serving.plan.MOST_ON_CPU", most)
        rig = Rig(model("vitg-256-ac"))
        rig.fragile.device = "cpu"
        start, goal = clip(1), clip(1, 2)
        search = wire.Search(samples=8, elites=3, iterations=2, horizon=2)
        request = wire.PlanStart(1, FAR, blob(start), blob(goal, 1), (0.0,) * 7, search=search)
        rig.ask(request, start, goal)
        rig.turn()
        rig.ask(wire.JobStatus(2, FAR, rig.replies[1].reply.job))
        plans.append(rig.replies[2].reply.result)
    np.testing.assert_allclose(plans[0].mean, plans[1].mean, atol=1e-6)
    assert plans[0].action == pytest.approx(plans[1].action, abs=1e-6)


def test_late(rig, clip):
    embed(rig, 1, clip(2), deadline=1)
    assert rig.replies[1].reply.bus_name == Late.bus_name
    embed(rig, 2, clip(2), deadline=time.monotonic_ns() + 1000)
    rig.turn()
    assert rig.replies[2].reply.bus_name == Late.bus_name


def test_a_full_mill_says_so(rig, clip, monkeypatch):
    monkeypatch.setattr("jepad.scene.serving.mill.MAX_HELD", 100)
    embed(rig, 1, clip(2))
    assert rig.replies[1].reply.bus_name == EngineError.bus_name
    assert "waiting already" in rig.replies[1].reply.message


def test_the_thread_answers_and_stops(rig, clip):
    rig.mill.start()
    embed(rig, 1, clip(2))

    def answered():
        rig.mill.told()
        return 1 in rig.replies

    until(answered)
    rig.mill.stop()
    assert not rig.mill.failed
    assert not rig.mill.busy_ms


def test_who_comes_during_a_plan_waits_for_one_part_of_it(model, clip):
    rig = Rig(model("vitg-256-ac"))
    rig.fragile.device = "cpu"
    start, goal = clip(1), clip(1, 2)
    search = wire.Search(samples=8, elites=2, iterations=50, horizon=1)
    request = wire.PlanStart(1, FAR, blob(start), blob(goal, 1), (0.0,) * 7, search=search)
    rig.ask(request, start, goal)
    for _ in range(6):
        rig.mill._turn()
    embed(rig, 2, clip(2, 5))
    rig.mill._turn()
    rig.mill.told()
    assert 2 in rig.replies
    rig.ask(wire.JobStatus(3, FAR, rig.replies[1].reply.job))
    assert rig.replies[3].reply.state == "running"


def test_the_same_clip_asked_by_many_is_encoded_once(rig, clip):
    rows, encode = [], rig.fragile.encode
    rig.fragile.encode = lambda patches, *rest: rows.append(len(patches)) or encode(patches, *rest)
    for number in range(1, 9):
        embed(rig, number, clip(2, 1))
    embed(rig, 9, clip(2, 2))
    rig.turn()
    assert sum(rows) == 2
    assert len({bytes(rig.replies[n].parts[0]) for n in range(1, 9)}) == 1
