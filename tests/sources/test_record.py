"""What is written is read back, whatever moment the writer died at."""

import gzip
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepad.errors import SettingError
from jepad.paths import Roots
from jepad.records import Series
from jepad.sources.record import TraceWriter
from jepad.sources.registry import build
from jepad.sources.replay import read_trace
from jepad.sources.snapshot import Snapshot

SERIES = (Series("mem.MemFree", "KiB", "gauge"), Series("cpu.user", "tick", "counter"))
BOTH = pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])


def record(path, rows, start=0):
    writer = TraceWriter(str(path), SERIES)
    for i in range(rows):
        writer.append(100.0 + start + i, np.array([start + i + 0.25, 7.0]))
    writer.close()


@BOTH
def test_round_trip_and_continuing(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    record(path, 70)
    record(path, 35, start=70)
    trace = read_trace(str(path))
    assert trace.series == SERIES
    assert not trace.torn
    assert trace.t_s.tolist() == [100.0 + i for i in range(105)]
    assert trace.values[:, 0].tolist() == [i + 0.25 for i in range(105)]


@given(st.lists(st.one_of(st.floats(allow_infinity=False), st.integers(0, 2**53)), min_size=1))
def test_every_number_survives(tmp_path_factory, numbers):
    path = str(tmp_path_factory.mktemp("numbers") / "a.csv")
    writer = TraceWriter(path, SERIES[:1])
    for i, number in enumerate(numbers):
        writer.append(float(i), np.array([number], dtype=np.float64))
    writer.close()
    np.testing.assert_array_equal(read_trace(path).values[:, 0], np.array(numbers, dtype=float))


@BOTH
def test_a_file_cut_anywhere_reads_and_continues(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    record(path, 65)
    whole = path.read_bytes()
    for end in range(0, len(whole), 5):
        path.write_bytes(whole[:end])
        record(path, 3, start=1000)
        trace = read_trace(str(path))
        assert not trace.torn
        assert trace.t_s[-3:].tolist() == [1100.0, 1101.0, 1102.0]
        kept = len(trace.t_s) - 3
        assert trace.t_s[:kept].tolist() == [100.0 + i for i in range(kept)]


@BOTH
def test_a_torn_file_is_told_when_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    record(path, 65)
    path.write_bytes(path.read_bytes()[:-4])
    trace = read_trace(str(path))
    assert trace.torn
    assert 30 <= len(trace.t_s) <= 65


def test_a_killed_writer_loses_no_written_line(tmp_path):
    path = str(tmp_path / "a.csv")
    code = (
        "import sys, numpy as np\n"
        "from jepad.records import Series\n"
        "from jepad.sources.record import TraceWriter\n"
        "w = TraceWriter(sys.argv[1], [Series('x', '', 'gauge')])\n"
        "for i in range(10**9):\n"
        "    w.append(float(i), np.array([i * 1.5]))\n"
        "    if i == 200: print('on', flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=10)
    trace = read_trace(path)
    assert len(trace.t_s) > 200
    np.testing.assert_array_equal(trace.values[:, 0], trace.t_s * 1.5)


@BOTH
def test_other_series_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    record(path, 2)
    with pytest.raises(SettingError, match="holds other series"):
        TraceWriter(str(path), SERIES[:1])
    assert len(read_trace(str(path)).t_s) == 2


def test_what_can_not_be_written_is_refused(tmp_path):
    with pytest.raises(SettingError, match=r"written as \.csv"):
        TraceWriter(str(tmp_path / "a.txt"), SERIES)
    with pytest.raises(SettingError, match="No such file"):
        TraceWriter(str(tmp_path / "none" / "a.csv"), SERIES)
    with pytest.raises(SettingError, match="comma or a line break"):
        TraceWriter(str(tmp_path / "b.csv"), [Series("a,b", "", "gauge")])
    (tmp_path / "c.csv.gz").write_bytes(b"somebody's letter")
    with pytest.raises(SettingError, match="not a gzip file"):
        TraceWriter(str(tmp_path / "c.csv.gz"), SERIES)
    assert (tmp_path / "c.csv.gz").read_bytes() == b"somebody's letter"
    writer = TraceWriter(str(tmp_path / "d.csv"), SERIES)
    with pytest.raises(ValueError, match="values for 2 series"):
        writer.append(0.0, np.zeros(3))
    writer.close()


def test_this_machine_recorded_and_replayed(tmp_path):
    snapshot = Snapshot(build(Roots(), ["cpu", "memory", "psi", "disk", "network"]))
    path = str(tmp_path / "live.csv.gz")
    writer = TraceWriter(path, snapshot.series)
    samples = [snapshot.take() for _ in range(5)]
    for sample in samples:
        writer.append(sample.t_ns * 1e-9, sample.values)
    writer.close()
    trace = read_trace(path)
    assert trace.series == snapshot.series
    np.testing.assert_array_equal(trace.values, [s.values for s in samples])
    assert not math.isnan(trace.values[0, 0])
    assert os.stat(path).st_mode & 0o007 == 0


def test_one_member_that_unpacks_to_many_chunks_is_whole_and_is_continued(tmp_path):
    path = str(tmp_path / "long.csv.gz")
    rows = [f"{i},{i * 7919 % 10007}.{i}" for i in range(150_000)]
    lines = ("t,a\n" + "\n".join(rows) + "\n").encode()
    assert len(lines) > 2 << 20
    with open(path, "wb") as file:
        file.write(gzip.compress(lines))
    before = os.path.getsize(path)
    trace = read_trace(path)
    assert len(trace.values) == 150_000
    assert not trace.torn
    writer = TraceWriter(path, (Series("a", "", "gauge"),))
    writer.append(150_000.0, np.array([1.0]))
    writer.close()
    assert os.path.getsize(path) > before
    assert len(read_trace(path).values) == 150_001
