"""Where a model goes, and where a call."""

import pytest

from jepad.errors import SettingError, TooLarge
from jepad.scene.placement import Device, choose, cpu, least_loaded

GB = 10**9
CPU = Device("cpu", 8 * GB, 16 * GB)
SMALL, LARGE = Device("cuda:0", 3 * GB, 24 * GB), Device("cuda:1", 9 * GB, 24 * GB)


def need(size):
    return lambda _: size * GB


@pytest.mark.parametrize(
    ("devices", "size", "name"),
    [
        ([CPU, SMALL, LARGE], 2, "cuda:1"),  # the most free memory
        ([CPU, SMALL], 2, "cuda:0"),  # an accelerator before a CPU that has more
        ([CPU, SMALL], 4, "cpu"),  # the CPU when nothing else can
        ([CPU], 4, "cpu"),
    ],
)
def test_auto(devices, size, name):
    assert choose(devices, need(size)).name == name


def test_need_depends_on_the_device():
    at = {"cpu": GB, "cuda:1": 10 * GB}
    assert choose([CPU, LARGE], lambda d: at[d.name]).name == "cpu"


def test_one_that_is_named_is_taken_or_refused():
    assert choose([CPU, SMALL, LARGE], need(2), "cuda:0") is SMALL
    with pytest.raises(TooLarge, match=r"cuda:0 has 3,000 MB free and 4,000 MB are needed"):
        choose([CPU, SMALL, LARGE], need(4), "cuda:0")
    with pytest.raises(SettingError, match=r"no device 'cuda:3' here \(there are: cpu, cuda:0\)"):
        choose([CPU, SMALL], need(1), "cuda:3")


def test_nowhere():
    with pytest.raises(TooLarge, match="cpu has 8,000 MB free and 20,000 MB"):
        choose([CPU, LARGE], need(20))


def test_calls_go_where_least_waits_then_where_most_is_free():
    loads = {"a": (2, 9), "b": (1, 3), "c": (1, 5)}
    assert least_loaded(loads, loads.__getitem__) == "c"


def test_this_machine(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       2000 kB\nMemFree: 1 kB\nMemAvailable:   1000 kB\n")
    assert cpu(str(meminfo)) == Device("cpu", 1024_000, 2048_000)
    assert 0 < cpu().free_bytes <= cpu().total_bytes
