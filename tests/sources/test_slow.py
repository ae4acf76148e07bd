"""A source that hangs does so alone."""

import os
import threading

import pytest

from jepad.errors import SourceError
from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.slow import Slow
from jepad.sources.snapshot import Snapshot
from jepad.sources.source import PartlyRead
from jepad.sources.thermal import Thermal


class Pipe:
    """A source whose read blocks in the kernel until somebody writes into its pipe."""

    name = "pipe"

    def __init__(self, path):
        self.path = path
        self.reads = 0

    def describe(self):
        return (Series("x", "", "gauge"),)

    def read(self):
        self.reads += 1
        with open(self.path, "rb") as pipe:
            return {"x": float(pipe.read())}


def feed(path, data):
    with open(path, "wb") as pipe:
        pipe.write(data)


def test_a_source_stuck_in_the_kernel_blocks_no_tick(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    source = Pipe(tmp_path / "pipe")
    slow = Slow(source, 0.01)
    assert slow.describe() == ()  # nothing known yet, and no waiting for ever
    assert slow.read() == {}
    threading.Event().wait(1.0)
    with pytest.raises(SourceError, match=r"pipe: no answer for \d+ s"):
        slow.read()
    assert source.reads == 1  # and nobody sent a second thread after the first
    slow.close()
    feed(tmp_path / "pipe", b"3")


def test_the_newest_answer_is_given(tree):
    slow = Slow(Thermal(tree), 60.0)
    series = slow.describe()
    assert {s.name for s in series} == set(slow.read())
    assert slow.describe() == series
    slow.close()


def test_failures_come_through(tree, put):
    slow = Slow(Thermal(tree), 60.0)
    slow.describe()
    put(tree.sys, {"class/hwmon/hwmon0/temp1_input": "hot\n"})
    slow.describe()  # asks the thread for a fresh look
    with pytest.raises(PartlyRead, match="temp1_input") as told:
        slow.read()
    assert told.value.values["temp.coretemp.Core_0"] == 45.0
    slow.close()


def test_an_absent_source_sleeps_until_asked(tmp_path, put):
    roots = Roots(sys=str(tmp_path))
    snapshot = Snapshot([Slow(Thermal(roots), 60.0)])
    assert snapshot.states[0].state == "absent"
    put(tmp_path, {"class/hwmon/hwmon0/name": "chip\n", "class/hwmon/hwmon0/temp1_input": "9000\n"})
    assert snapshot.redescribe()
    assert snapshot.take().values.tolist() == [9.0]
    snapshot.close()
