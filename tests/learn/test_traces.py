"""Every public format is read; a file of no known format is refused by name."""

import gzip

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.learn.traces import digest, is_counter, read, read_all


def test_the_fixtures_are_read(traces):
    by = {t.source: t for t in traces}
    assert by["smd_cut"].values.shape == (3000, 38)
    assert by["smd_cut"].dt_s == 60.0
    stall = by["memory_stall_1hz"]
    assert stall.dt_s == pytest.approx(1.0, abs=0.05)
    assert np.isfinite(stall.values).all()
    assert all(t.values.dtype == np.float32 for t in traces)


def test_halves_follow_each_other(tmp_path):
    path = tmp_path / "asd.npz"
    np.savez(path, a_train=np.zeros((5, 19)), a_test=np.ones((3, 19)), a_test_label=np.zeros(3))
    (trace,) = read(str(path))
    assert trace.key == "asd:a"
    assert trace.values[:, 0].tolist() == [0] * 5 + [1] * 3
    assert trace.dt_s == 300.0


def test_stacked_series_lose_channels_never_seen(tmp_path):
    path = tmp_path / "more.npz"
    rows = np.array([[1, np.nan], [2, np.nan], [3, 4]], np.float32)
    np.savez(path, X=rows, offsets=[0, 2, 3], host=["p", "q"], dt=[1.0, 2.0])
    first, second = read(str(path))
    assert first.values.shape == (2, 1)
    assert second.values.shape == (1, 2)
    assert (first.host, second.dt_s) == ("p", 2.0)


def test_timed_series_must_be_nearly_regular(tmp_path):
    path = tmp_path / "nab.npz"
    t = np.arange(100) * 300
    wild = np.cumsum(np.random.default_rng(0).integers(1, 9999, 100))
    ones = np.ones(100)
    np.savez(path, **{"a|v": ones, "a|t": t, "b|v": ones, "b|t": wild})
    (trace,) = read(str(path))
    assert (trace.host, trace.dt_s) == ("a", 300.0)


def test_a_recording_s_counters_become_rates(tmp_path):
    path = tmp_path / "mine.csv.gz"
    rows = ["t,cpu.user,mem.MemFree,wl"] + [f"{i * 2},{i * 10},{100 + i},x" for i in range(5)]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    (trace,) = read(str(path))
    assert trace.dt_s == 2.0
    assert trace.values[:, 0].tolist() == [5.0] * 4
    assert trace.values[:, 1].tolist() == [101, 102, 103, 104]


def test_counters_by_name():
    assert is_counter("psi.memory.some.total")
    assert is_counter("vm.pgpgin")
    for name in ("mem.MemFree", "load1", "vm.nr_dirty", "psi.io.some.avg10", "disk.vda.infl"):
        assert not is_counter(name)


def test_what_is_not_known_is_refused_by_name(tmp_path):
    for name, content in (("a.npz", b"not a zip"), ("b.csv.gz", b"not gzip")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SettingError, match=name):
            read(str(tmp_path / name))
    np.savez(tmp_path / "c.npz", strange=np.zeros(3))
    with pytest.raises(SettingError, match=r"c\.npz"):
        read(str(tmp_path / "c.npz"))


def test_an_empty_directory_is_refused(tmp_path):
    with pytest.raises(SettingError, match="name a data directory"):
        read_all(str(tmp_path))


def test_digest(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    assert digest(str(tmp_path / "x")).startswith("e3b0c442")
