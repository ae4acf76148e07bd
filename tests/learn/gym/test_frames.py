"""Frames of a real guest become rows; broken ones become errors, never rows."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from jepad.errors import SourceError
from jepad.learn.gym import frames
from jepad.sources.replay import read_trace

RAW = gzip.decompress((Path(__file__).parents[2] / "fixtures/gym/guest-frames.gz").read_bytes())


def test_all_frames_of_a_real_guest_are_found():
    found, taken = frames.split(RAW)
    assert taken == len(RAW)
    assert len(found) == 6
    steps = np.diff([frame.t_ns for frame in found])
    assert np.all(np.abs(steps - 1e9) < 2e8)


@pytest.mark.parametrize("cut", [0, 5, 30, 2000, 5000, len(RAW) // 2, len(RAW) - 1])
def test_a_frame_is_taken_when_it_is_whole(cut):
    found, taken = frames.split(RAW[:cut])
    rest, taken_later = frames.split(RAW[taken:])
    assert taken + taken_later == len(RAW)
    assert [*found, *rest] == frames.split(RAW)[0]


@pytest.mark.parametrize("bad", [b"x" * 300, b"FRAME 1 2\n" + b"/proc/stat huge\n" * 40])
def test_what_is_no_frame_is_an_error(bad):
    with pytest.raises(SourceError, match="guest's frames"):
        frames.split(bad)


def test_a_guest_writes_nothing_outside_its_tree():
    tree = frames.Tree()
    try:
        with pytest.raises(SourceError):
            tree.show(frames.Frame(0, {"/proc/../../../tmp/escaped": b"x"}))
    finally:
        tree.close()


def test_rows_have_the_daemon_s_series():
    found, _ = frames.split(RAW)
    table = frames.rows(found, ["hog", "leak"])
    names = {s.name for s in table.series}
    assert {
        "cpu.busy",
        "mem.MemFree",
        "vm.pgfault",
        "psi.memory.some.total",
        "disk.sda.iot",
        "cgroup.hog.memory_current",
        "cgroup.hog.cpu_usage",
        "cgroup.hog.memory_pressure",
        "cgroup.hog.io_bytes",
        "label.oom_kills",
    } <= names
    assert len(names) == len(table.series)
    assert np.isfinite(table.column("mem.MemFree")).all()
    assert np.all(np.diff(table.column("cpu.busy")) >= 0)
    assert table.t_s[0] == 0


def test_a_unit_is_unknown_before_it_exists():
    found, _ = frames.split(RAW)
    early = frames.Frame(
        found[0].t_ns, {p: d for p, d in found[0].files.items() if "/hog" not in p}
    )
    table = frames.rows([early, *found[1:]])
    column = table.column("cgroup.hog.memory_current")
    assert np.isnan(column[0])
    assert np.isfinite(column[1:]).all()


def test_a_trace_reads_back_as_it_was_written(tmp_path):
    table = frames.rows(frames.split(RAW)[0], ["hog"])
    path = str(tmp_path / "guest.csv.gz")
    frames.write(path, table)
    trace = read_trace(path)
    assert [s.name for s in trace.series] == [s.name for s in table.series]
    np.testing.assert_array_equal(trace.values, table.values)
    np.testing.assert_array_equal(trace.t_s, table.t_s)
    assert [p.name for p in tmp_path.iterdir()] == ["guest.csv.gz"]
