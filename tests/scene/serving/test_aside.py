"""Runs that may wait: beside requests on a CPU, between them on a GPU."""

import threading

import pytest

from jepad.errors import DeviceLost, EngineError, TooLarge
from jepad.scene.serving import aside as room
from jepad.scene.serving.aside import Aside
from jepad.scene.serving.batch import Batch
from jepad.scene.serving.host import Host
from jepad.scene.serving.job import Jobs
from jepad.scene.serving.mill import Mill
from tests.scene.conftest import until
from tests.scene.fakes import Counting


class Rig:
    def __init__(self, device):
        self.host = Host(lambda lost: Counting("cpu" if lost else device))
        self.mill = Mill(Batch(self.host), Jobs(self.host))
        self.aside = Aside(self.host, self.mill)
        self.found = []

    def ask(self, run):
        """In a thread of its own; what it gives is in `found`."""

        def asked():
            try:
                self.found.append(self.aside(run))
            except Exception as error:
                self.found.append(error)

        threading.Thread(target=asked, daemon=True).start()


def raises(error):
    def run(_):
        raise error

    return run


def test_on_a_cpu_it_is_run_beside_what_the_mill_does():
    rig = Rig("cpu")
    assert rig.aside(lambda backend: (backend.device, threading.get_ident())) == (
        "cpu", threading.get_ident(),
    )  # fmt: skip
    rig.mill.start()
    under, over = threading.Event(), threading.Event()
    rig.mill.put(lambda: (under.set(), over.wait()))
    under.wait()
    assert rig.aside(lambda backend: backend.device) == "cpu"
    over.set()
    rig.mill.stop()


def test_on_a_gpu_it_waits_until_no_call_does():
    rig = Rig("cuda:0")
    order = []
    rig.ask(lambda backend: order.append("aside") or backend.device)
    until(lambda: rig.mill._spare)
    rig.mill.put(lambda: order.append("request"))
    rig.mill._turn()
    rig.mill._turn()
    until(lambda: rig.found)
    assert (order, rig.found) == (["request", "aside"], ["cuda:0"])


def test_one_at_a_time_in_their_order():
    rig = Rig("cpu")
    first, go = threading.Event(), threading.Event()
    order = []
    rig.ask(lambda _: (first.set(), go.wait(), order.append(0)))
    first.wait()
    assert rig.aside.busy_ms >= 1
    for i in (1, 2, 3):
        rig.ask(lambda _, i=i: order.append(i))
        until(lambda i=i: len(rig.aside._queue) == i + 1)
    go.set()
    until(lambda: len(rig.found) == 4)
    assert order == [0, 1, 2, 3]
    assert rig.aside.busy_ms == 0


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize(
    ("raised", "told"),
    [(EngineError("no"), EngineError), (ValueError("odd"), EngineError), (MemoryError(), TooLarge)],
)
def test_what_goes_wrong_is_told_and_the_next_is_run(device, raised, told):
    rig = Rig(device)
    rig.mill.start()
    with pytest.raises(told):
        rig.aside(raises(raised))
    assert rig.aside(lambda backend: backend.device) == device
    rig.mill.stop()


def test_a_device_that_is_lost_is_replaced():
    rig = Rig("cuda:0")
    rig.mill.start()
    with pytest.raises(DeviceLost):
        rig.aside(raises(DeviceLost("gone")))
    assert rig.aside(lambda backend: backend.device) == "cpu"
    rig.mill.stop()


def test_nobody_waits_for_an_engine_that_stops(monkeypatch):
    monkeypatch.setattr(room, "LOOK_S", 0.01)
    rig = Rig("cuda:0")
    rig.ask(lambda _: 1)
    until(lambda: rig.mill._spare)
    rig.ask(lambda _: 2)
    until(lambda: len(rig.aside._queue) == 2)
    rig.aside.close()
    until(lambda: len(rig.found) == 2)
    assert all(isinstance(each, EngineError) for each in rig.found)
    rig.mill.stop()
    with pytest.raises(EngineError, match="no more"):
        rig.mill.spare(lambda: None)
