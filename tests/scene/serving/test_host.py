"""A device goes away; the model is put on another, or the reason is said."""

import pytest

from jepad.errors import DeviceLost, EngineError, ModelError, NotReady, SettingError, TooLarge
from jepad.scene.serving.host import PATIENCE_S, Host
from tests.scene.fakes import Counting


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def raises(error):
    def run(_):
        raise error

    return run


def test_a_lost_device_is_replaced_by_the_next():
    made = []

    def load(lost):
        made.append(Counting("cpu" if "cuda:0" in lost else "cuda:0"))
        return made[-1]

    host = Host(load)
    assert host(lambda b: b.device) == "cuda:0" == host.device
    with pytest.raises(DeviceLost):
        host(raises(DeviceLost("gone")))
    assert made[0].closed
    assert host(lambda b: b.device) == "cpu" == host.device
    assert host.reason == "cuda:0 was lost: gone"
    assert host.losses == 1


def test_nothing_is_left_and_then_it_is():
    clock, able = Clock(), [True]

    def load(_):
        if not able[0]:
            raise TooLarge("no device has the memory")
        return Counting("cuda:0")

    host = Host(load, clock)
    able[0] = False
    with pytest.raises(DeviceLost):
        host(raises(DeviceLost("gone")))
    with pytest.raises(NotReady, match="no device carries the model: no device has the memory"):
        host(lambda b: b.device)
    able[0] = True
    with pytest.raises(NotReady):  # not asked again at once
        host(lambda b: b.device)
    clock.now += PATIENCE_S
    assert host(lambda b: b.device) == "cuda:0"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (SettingError("s"), SettingError),
        (MemoryError(), TooLarge),
        (RuntimeError("r"), EngineError),
    ],
)
def test_other_faults_lose_nothing(error, kind):
    host = Host(lambda _: Counting())
    with pytest.raises(kind):
        host(raises(error))
    assert host(lambda b: b.device) == "cpu"
    assert not host.losses


def test_what_can_not_be_loaded_is_said_at_once():
    with pytest.raises(ModelError):
        Host(raises(ModelError("no")))


def test_free_memory_is_looked_at_now_and_then():
    clock, backend = Clock(), Counting()
    host = Host(lambda _: backend, clock)
    backend.bytes = 7
    host(lambda b: b)
    assert host.free_bytes != 7
    clock.now += 1
    host(lambda b: b)
    assert host.free_bytes == 7


def test_a_move_is_told_once_it_is_done():
    told = []
    host = Host(lambda lost: Counting("cpu" if lost else "cuda:0"))
    host.moved = lambda: told.append(host.device)
    with pytest.raises(DeviceLost):
        host(raises(DeviceLost("gone")))
    assert told == ["cpu"]
