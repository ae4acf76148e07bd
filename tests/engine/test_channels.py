"""Which series are forecast."""

from jepad.engine.channels import FIRST_SHARE, MAX_CHANNELS, choose
from jepad.records import Series


def named(*names):
    return [Series(name, "", "gauge") for name in names]


def test_order_is_that_of_the_patterns():
    series = named("load1", "junk", "cpu.busy", "mem.MemFree")
    assert [series[i].name for i in choose(series)] == ["cpu.busy", "mem.MemFree", "load1"]
    assert choose(series, ("junk", "load*")) == [1, 0]


def test_one_of_many_sensors_leaves_room_for_disks():
    series = named(*(f"temp.board.{i}" for i in range(60)), "disk.vda.iot", "disk.loop0.iot")
    chosen = [series[i].name for i in choose(series)]
    assert len(chosen) == MAX_CHANNELS
    assert chosen.index("disk.vda.iot") == FIRST_SHARE
    assert "disk.loop0.iot" not in chosen


def test_a_series_is_chosen_once():
    assert choose(named("a", "b"), ("a", "*", "a")) == [0, 1]


def test_nothing_matches():
    assert choose(named("a"), ("b",)) == []


def test_unknown_names_are_taken_as_they_come():
    assert choose(named("0", "1", "2"), limit=2) == [0, 1]
