"""Goals: their words, their units, the distance to them."""

import math

import pytest

from jepad.errors import NotFound, SettingError
from jepad.policy import goal
from jepad.policy.goal import Want
from jepad.records import Series

SERIES = (
    Series("mem.MemAvailable", "KiB", "gauge"),
    Series("psi.memory.some.avg10", "%", "gauge"),
    Series("psi.memory.some.total", "us/s", "gauge"),
    Series("disk.sda.read", "sector/s", "gauge"),
    Series("load1", "", "gauge"),
)


def want(text, patterns=("*",)):
    (found,) = goal.wants([text], SERIES, patterns)
    return found


@pytest.mark.parametrize(
    ("text", "series", "least", "value"),
    [
        ("mem.MemAvailable >= 4194304", "mem.MemAvailable", True, 4194304),
        ("mem.MemAvailable>=4GiB", "mem.MemAvailable", True, 4194304),
        (" mem.MemAvailable ≥ 512 MiB ", "mem.MemAvailable", True, 524288),
        ("mem.MemAvailable <= 1024B", "mem.MemAvailable", False, 1),
        ("psi.memory.some.avg10 ≤ 5", "psi.memory.some.avg10", False, 5),
        ("psi.memory.some.avg10 <= 5%", "psi.memory.some.avg10", False, 5),
        ("psi.memory.some.total <= 20 %", "psi.memory.some.total", False, 200_000),
        ("disk.sda.read <= 1MiB/s", "disk.sda.read", False, 2048),
        ("load1 <= 1.5e0", "load1", False, 1.5),
        ("load1 >= -.5", "load1", True, -0.5),
    ],
)
def test_words(text, series, least, value):
    assert want(text) == Want(series, least, pytest.approx(value))


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("", SettingError, "is no condition; write it as"),
        ("mem.MemAvailable", SettingError, "is no condition"),
        ("mem.MemAvailable = 3", SettingError, "is no condition"),
        ("mem.MemAvailable >= nan", SettingError, "is no condition"),
        ("mem.MemAvailable >= 1e999", SettingError, "finite"),
        ("mem.MemAvailable >= 4 GB", SettingError, "'GB' is no unit of mem.MemAvailable"),
        ("mem.MemAvailable >= 4 %", SettingError, "which is in KiB"),
        ("disk.sda.read <= 1MiB", SettingError, "'MiB' is no unit"),
        ("mem.MemAvailable >= 1MiB/s", SettingError, "'MiB/s' is no unit"),
        ("load1 <= 1 MiB", SettingError, "'MiB' is no unit of load1"),
        ("mem.MemAvailible >= 1", NotFound, "did you mean mem.MemAvailable?"),
        ("x" * 5000 + " >= 1", SettingError, "is no condition"),
        ("nothing >= 1", NotFound, "jepactl top --once"),
    ],
)
def test_refusals_say_why(text, kind, said):
    with pytest.raises(kind) as caught:
        want(text)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


def test_only_series_of_the_domain():
    assert want("load1 <= 1", ("load*",)).series == "load1"
    with pytest.raises(NotFound, match="in this domain"):
        want("load1 <= 1", ("mem.*",))


@pytest.mark.parametrize("count", [0, goal.MAX_WANTS + 1])
def test_how_many(count):
    with pytest.raises(SettingError, match="1 to 8 conditions"):
        goal.wants(["load1 <= 1"] * count, SERIES, ("*",))


def test_distance_and_energy():
    more, less = Want("a", True, 10.0), Want("b", False, 0.0)
    assert (more.distance(4.0), more.distance(12.0), less.distance(3.0)) == (6.0, 0.0, 3.0)
    assert less.distance(math.nan) == math.inf
    scales = [goal.scale(more, 4.0), goal.scale(less, 2.0)]
    assert scales == [10.0, 2.0]
    assert goal.energy([more, less], {"a": 4.0, "b": 1.0}, scales) == pytest.approx(0.55)
    assert goal.energy([more, less], {"a": 10.0, "b": -1.0}, scales) == 0
    assert goal.scale(less, math.nan) > 0
