"""Traces out of files of every layout, and clear words for files that are none."""

import contextlib
import gzip
import io
import os
import zipfile

import numpy as np
import pytest

from jepad.errors import NotReady, SettingError
from jepad.records import GAP, Series, Window
from jepad.sources.rates import rates
from jepad.sources.replay import Replay, read_trace, read_traces, trace_names


def column(trace, name):
    return trace.values[:, [s.name for s in trace.series].index(name)]


def test_the_recorded_stall(traces):
    trace = read_trace(str(traces / "memory_stall_1hz.csv.gz"))
    assert trace.values.shape == (500, 151)
    assert trace.dt_s == pytest.approx(1.0, abs=0.01)
    kinds = {s.name: (s.unit, s.semantics) for s in trace.series}
    assert kinds["psi.memory.some.total"] == ("us", "counter")
    assert kinds["mem.MemFree"] == ("KiB", "gauge")
    assert kinds["cpu0.user"] == ("tick", "counter")
    assert kinds["disk.vda.infl"] == ("", "gauge")
    pressure = column(trace, "psi.memory.some.avg10")
    assert pressure[:460].max() < 5 < pressure[460:].max()
    assert not trace.torn
    assert trace.label is None


def test_a_replay_looks_like_a_snapshot(traces):
    trace = read_trace(str(traces / "memory_stall_1hz.csv.gz"))
    replay = Replay(trace, start_t_ns=1000)
    assert replay.series == trace.series
    assert not replay.redescribe()
    first = replay.take()
    assert (first.t_ns, first.flags) == (1000, GAP)
    np.testing.assert_array_equal(first.values, trace.values[0])
    rest = list(replay)
    assert len(rest) == 499
    assert [i for i, s in enumerate(rest, 1) if s.flags] == [488]  # the stall stopped the recorder
    t_ns = [first.t_ns, *(s.t_ns for s in rest)]
    assert t_ns == sorted(set(t_ns))
    with pytest.raises(NotReady, match="is over"):
        replay.take()


def test_time_unseen_in_a_trace_is_a_gap(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("t,cpu.user\n1,10\n2,20\n3,30\n60,40\n61,50\n")
    replay = Replay(read_trace(str(path)))
    samples = list(replay)
    t_ns, flags = (np.array([getattr(s, what) for s in samples]) for what in ("t_ns", "flags"))
    values = np.array([s.values for s in samples])
    _, _, out = rates(Window(replay.series, t_ns, values, flags, len(samples) - 1))
    np.testing.assert_array_equal(out[:, 0], [np.nan, 10, 10, np.nan, 10])


def test_tables_without_names(traces):
    path = str(traces / "smd_cut.npz")
    assert trace_names(path) == ("machine-1-2_train", "machine-1-2_test")
    train, test = read_traces(path)
    assert train.host == test.host == "machine-1-2"
    assert train.values.shape == (1500, 38)
    assert train.dt_s == 60.0
    assert train.label is None
    assert test.label is not None
    assert test.label.shape == (1500,)
    assert read_trace(path, "machine-1-2_test").name == "machine-1-2_test"
    with pytest.raises(SettingError, match="no trace is called 'x'; there are 2: machine-1-2_"):
        read_trace(path, "x")


def packed(tmp_path, **change):
    arrays = {
        "X": np.array([[1, 9], [2, 9], [3, np.nan], [4, np.nan]], dtype=np.float32),
        "offsets": np.array([0, 2, 4]),
        "series": np.array(["one", "one"]),
        "host": np.array(["h1", "h2"]),
        "dt": np.array([5, 7], dtype=np.float32),
        "cols": np.array(["cpu", "cpu"]),
        "units": np.array(["%", "MHz"]),
    }
    path = tmp_path / "packed.npz"
    arrays = {name: a for name, a in (arrays | change).items() if a is not None}
    np.savez_compressed(path, **arrays)
    return str(path)


def test_many_series_in_one_array(tmp_path):
    path = packed(tmp_path)
    assert trace_names(path) == ("one", "one#1")
    first, second = read_traces(path)
    assert first.series == (Series("cpu_%", "%", "gauge"), Series("cpu_MHz", "MHz", "gauge"))
    assert first.t_s.tolist() == [0, 5]
    assert first.host == "h1"
    assert second.series == (Series("cpu_%", "%", "gauge"),)  # never had the other
    assert second.values[:, 0].tolist() == [3, 4]
    assert second.dt_s == 7


def test_times_and_labels_of_many_series(tmp_path):
    path = packed(tmp_path, t=np.array([0, 3, 0, 0.0]), label=np.array([0, 1, 1, 0], np.uint8))
    first, second = read_traces(path)
    assert first.t_s.tolist() == [0, 3]
    assert first.label.tolist() == [0, 1]
    assert len(second.t_s) == 1  # a repeated time is dropped


def test_one_table_with_names(tmp_path):
    path = str(tmp_path / "x.npz")
    t = np.round(np.arange(100) * 0.2 * 8) / 8  # times kept with few bits
    np.savez(
        path,
        x=np.column_stack([t, np.ones(100), np.arange(100), np.arange(100)]).astype(np.float32),
        cols=np.array(["t", "label", "psi.mem.some", "cpu.sys"]),
    )
    trace = read_trace(path)
    assert trace.series == (
        Series("psi.memory.some.total", "us", "counter"),
        Series("cpu.system", "tick", "counter"),
    )
    assert len(trace.t_s) == 100
    assert np.ptp(np.diff(trace.t_s)) < 1e-6


def test_one_channel_each(tmp_path):
    path = str(tmp_path / "n.npz")
    v, t = np.arange(3, dtype=np.float32), np.array([10, 20, 30])
    np.savez(path, **{"a/b|v": v, "a/b|t": t, "a/b|label": np.array([0, 0, 1], np.uint8)})
    trace = read_trace(path)
    assert (trace.name, trace.dt_s, trace.label.tolist()) == ("a/b", 10, [0, 0, 1])
    assert trace.values.shape == (3, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty, or not a text file"),
        ("t,a\n", "has a header but no row"),
        ("time,a\n1,2\n", "line 1 is not a header"),
        ("t,a,a\n1,2,3\n", "line 1: column 'a' is empty or there twice"),
        ("t,a,b\n1,2,3\n2,3,x\n", "line 3, column 'b': not a number: 'x'"),
        ("t,a,b\n1,2,3\n2,3\n", "line 3 has 2 columns, the header 3"),
        ("t,a\n1,2\n,3\n", "line 3, column 't': no time"),
        ("t,a\n1,inf\n", "line 2, column 'a': not a number: 'inf'"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_bad_csv_is_named_by_line_and_column(tmp_path, text, words, suffix):
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix == ".csv.gz" else text.encode())
    with pytest.raises(SettingError, match=words) as told:
        read_trace(str(path))
    assert str(path) in str(told.value)


def test_words_and_holes_in_a_csv(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("t,a,wl,label\r\n1,,gcc,0\r\n2,5,idle,1\r\n")
    trace = read_trace(str(path))
    assert [s.name for s in trace.series] == ["a"]
    np.testing.assert_array_equal(trace.values, [[np.nan], [5]])
    assert trace.label.tolist() == [0, 1]


def test_a_torn_last_line_is_dropped_and_told(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("t,a\n1,10\n2,20\n3,3")
    trace = read_trace(str(path))
    assert trace.torn
    assert trace.values[:, 0].tolist() == [10, 20]


def test_files_that_are_no_traces(tmp_path):
    for name, data in (
        ("a.npz", b"PK\x03\x04 not really"),
        ("b.csv.gz", b"not gzip"),
        ("c.txt", b"t,a\n1,2\n"),
        ("d.csv", bytes(range(256)) * 50),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SettingError, match=name):
            read_trace(str(tmp_path / name))
    for name in ("missing.csv", "missing.npz"):
        with pytest.raises(SettingError, match="No such file"):
            read_trace(str(tmp_path / name))


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": np.array([0, 3])},
        {"offsets": np.array([0, 3, 99])},
        {"units": np.array(["%"])},
        {"host": None},
        {"dt": None},
        {"X": np.array([["a", "b"]] * 4)},
        {"X": np.zeros(4)},
        {"cols": np.array(["cpu"]), "units": np.array(["%"])},
        {"t": np.zeros(2)},
        {"series": np.array([{"a": 1}, 2], dtype=object)},
    ],
)
def test_a_damaged_archive_is_a_setting_error(tmp_path, change):
    path = packed(tmp_path, **change)
    with pytest.raises(SettingError, match=r"packed\.npz"):
        list(read_traces(path))


def test_flipped_bytes_in_an_archive_are_a_setting_error_or_still_numbers(tmp_path):
    path = packed(tmp_path)
    with open(path, "rb") as file:
        good = file.read()
    for at in range(0, len(good), 7):
        with open(path, "wb") as file:
            file.write(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        with contextlib.suppress(SettingError):
            list(read_traces(path))


def npy(shape):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    return out.getvalue()


def test_archives_that_claim_too_much_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("jepad.sources.npztrace.MAX_BYTES", 1 << 22)
    path = str(tmp_path / "bomb.npz")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", npy((10**9, 10**6)))
    with pytest.raises(SettingError, match="claims more than it holds"):
        read_trace(path)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("x.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(5):
            member.write(bytes(1 << 20))
    assert os.path.getsize(path) < 1 << 20
    with pytest.raises(SettingError, match="unpacks to more than 4 MiB"):
        read_trace(path)


def test_a_gzip_bomb_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("jepad.sources.csvtrace.MAX_BYTES", 1 << 22)
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(bytes(1 << 26)))
    with pytest.raises(SettingError, match="unpacks to more than 4 MiB"):
        read_trace(str(path))
