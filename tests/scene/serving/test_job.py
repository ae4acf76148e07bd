"""Plans take turns, can be watched, cancelled and lost, and are forgotten."""

import numpy as np
import pytest

from jepad.errors import DeviceLost, EngineError, NotFound
from jepad.scene.serving.batch import Alone
from jepad.scene.serving.host import Host
from jepad.scene.serving.job import MAX_JOBS, PATIENCE_S, Jobs
from tests.scene.fakes import Counting


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def rig():
    clock = Clock()
    return Jobs(Host(lambda _: Counting()), clock), clock


def counting(turns, name="", log=None):
    def begin(report):
        for i in range(turns):
            found = yield Alone(lambda backend: backend.device)
            assert found == "cpu"
            if log is not None:
                log.append(name)
            report(i + 1, 10.0 - i)

    return begin


def test_progress_to_the_end(rig):
    jobs, _ = rig
    job = jobs.start(3, counting(3))
    assert jobs.status(job, 5).state == "waiting"
    for _ in range(3):
        jobs.step()
    said = jobs.status(job, 7)
    assert (said.id, said.state, said.done, said.total) == (7, "running", 2, 3)
    assert said.energies == (10.0, 9.0)
    jobs.step()
    assert jobs.status(job, 8).state == "done"
    assert not jobs.active


def test_they_take_turns(rig):
    jobs, log = rig[0], []
    jobs.start(2, counting(2, "a", log))
    jobs.start(2, counting(2, "b", log))
    for _ in range(8):
        jobs.step()
    assert log == ["a", "b", "a", "b"]


def test_cancel(rig):
    jobs, _ = rig
    job = jobs.start(9, counting(9))
    jobs.step()
    jobs.cancel(job, 1)
    jobs.step()
    assert jobs.status(job, 2).state == "cancelled"
    assert jobs.cancel(job, 3).state == "cancelled"
    jobs.step()


@pytest.mark.parametrize("error", [DeviceLost("gone"), ValueError("a fault of ours")])
def test_a_failure_is_its_own(rig, error):
    def begin(_):
        yield Alone(lambda backend: np.ones(1))
        raise error

    jobs, _ = rig
    bad, good = jobs.start(1, begin), jobs.start(1, counting(1))
    for _ in range(6):
        jobs.step()
    said = jobs.status(bad, 1)
    assert said.state == "failed"
    assert said.error[0] == getattr(error, "bus_name", EngineError.bus_name)
    assert str(error) in said.error[1]
    assert jobs.status(good, 1).state == "done"


def test_nobody_asks(rig):
    jobs, clock = rig
    watched, left = jobs.start(9, counting(9)), jobs.start(9, counting(9))
    clock.now += PATIENCE_S / 2
    jobs.status(watched, 1)
    clock.now += PATIENCE_S / 2 + 1
    jobs.tidy()
    for _ in range(4):
        jobs.step()
    assert jobs.status(left, 1).state == "cancelled"
    assert jobs.status(watched, 1).state == "running"
    clock.now += PATIENCE_S + 1
    jobs.tidy()
    with pytest.raises(NotFound):
        jobs.status(left, 1)


def test_not_too_many(rig):
    jobs, _ = rig
    for _ in range(MAX_JOBS):
        jobs.start(1, counting(1))
    with pytest.raises(EngineError, match="under way already"):
        jobs.start(1, counting(1))


def test_only_known_ones(rig):
    for ask in (rig[0].status, rig[0].cancel):
        with pytest.raises(NotFound):
            ask("ffff", 1)
