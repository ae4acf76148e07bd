"""Every public format is read; a file of no known format is refused by name."""

import gzip

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.learn.gym import episodes
from jepad.learn.traces import digest, read, read_all


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
    path.write_bytes(gzip.compress("\n".join([*rows, ""]).encode()))
    (trace,) = read(str(path))
    assert trace.dt_s == 2.0
    assert trace.values[:, 0].tolist() == [5.0] * 4
    assert trace.values[:, 1].tolist() == [101, 102, 103, 104]


def test_a_counter_that_was_reset_is_unknown_for_a_step(tmp_path):
    path = tmp_path / "mine.csv.gz"
    rows = ["t,cpu.user"] + [f"{i},{v}" for i, v in enumerate((0, 10, 20, 5, 15))]
    path.write_bytes(gzip.compress("\n".join([*rows, ""]).encode()))
    (trace,) = read(str(path))
    np.testing.assert_array_equal(trace.values[:, 0], [10, 10, np.nan, 10])


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


def packed(**changes):
    return {
        "X": np.ones((4, 2), np.float32), "offsets": [0, 4], "host": ["p"], "dt": [1.0],
    } | changes  # fmt: skip


BROKEN = {
    "objects": packed(X=np.array([[{}, 1.0]] * 4, dtype=object)),
    "words": packed(X=np.array([["a", "b"]] * 4)),
    "flat": packed(X=np.ones(4)),
    "offsets": packed(offsets=[0, 9]),
    "hosts": packed(host=["p", "q"]),
    "step": packed(dt=[0.0]),
    "unknown": packed(X=np.full((4, 2), np.nan)),
    "halves": {"a_train": np.zeros((5, 19)), "a_test": np.ones((3, 18))},
    "times": {"a|v": np.ones(5), "a|t": np.arange(4)},
    "columns": {"x": np.ones((5, 3)), "cols": ["t", "a"]},
    "clock": {"x": np.array([[0.0, 1], [9, 1], [2, 1], [3, 1]]), "cols": ["t", "a"]},
    "nothing": {},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_archive_is_refused_by_name(tmp_path, name):
    np.savez(tmp_path / f"{name}.npz", **BROKEN[name])
    with pytest.raises(SettingError, match=rf"{name}\.npz"):
        read(str(tmp_path / f"{name}.npz"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
def test_a_cut_off_archive_is_refused_by_name(tmp_path, share):
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, **packed(X=np.random.default_rng(0).normal(size=(4, 2))))
    data = whole.read_bytes()
    path = tmp_path / "cut.npz"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SettingError, match=r"cut\.npz"):
        read(str(path))


def test_flipped_bytes_are_refused_by_name_or_harmless(tmp_path):
    whole, path = tmp_path / "whole.npz", tmp_path / "flipped.npz"
    np.savez(whole, **packed())
    data = whole.read_bytes()
    said = []
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            read(str(path))
        except SettingError as e:
            said.append(str(e))
    assert len(said) > 50
    assert all("flipped.npz" in s for s in said)


def test_infinity_is_no_value(tmp_path):
    values = np.ones((4, 2))
    values[1, 0] = np.inf
    np.savez(tmp_path / "a.npz", **packed(X=values))
    (trace,) = read(str(tmp_path / "a.npz"))
    assert np.isnan(trace.values[1, 0])


def test_one_bad_file_of_a_directory_is_named(tmp_path):
    np.savez(tmp_path / "good.npz", **packed())
    (tmp_path / "worse.csv.gz").write_bytes(b"")
    with pytest.raises(SettingError, match=r"worse\.csv\.gz"):
        read_all(str(tmp_path))


def gym(directory, **changes):
    """An episode of six rows, with a label."""
    given = {
        "id": "n0", "floor": "native", "seed": 0, "hz": 1.0, "seconds": 6.0, "kernel": "k",
        "memory_mib": 1, "swap_mib": 1, "units": {},
    } | changes  # fmt: skip
    episode = episodes.Episode(file=f"{given['id']}.csv.gz", **given)
    rows = ["t,mem.MemFree,cgroup.a.memory_current,label.latency"]
    rows += [f"{i},{i},{2 * i}," for i in range(6)]
    path = directory / episode.file
    path.write_bytes(gzip.compress("\n".join([*rows, ""]).encode()))
    episodes.append(str(directory), episode)


def test_of_a_gym_the_manifest_decides(tmp_path):
    done = (episodes.Applied(2.0, "freeze", "a", 0.0),)
    gym(tmp_path)
    gym(tmp_path, id="n0a", actions=done, twin="n0")
    gym(tmp_path, id="g7", floor="guest", seed=7, split="held")
    (tmp_path / "unfinished.csv.gz").write_bytes(b"half")
    found = read_all(str(tmp_path))
    assert {(t.key, t.held) for t in found} == {("gym_native:n0", False), ("gym_guest:g7", True)}
    assert len(read_all(str(tmp_path), acted=True)) == 3
    assert found[0].values.shape == (5, 2)  # no label, and both are gauges
    np.testing.assert_array_equal(found[0].values[:, 1], [2, 4, 6, 8, 10])


def test_an_episode_that_is_gone_is_named(tmp_path):
    gym(tmp_path)
    gym(tmp_path, id="n5", seed=5)
    (tmp_path / "n5.csv.gz").unlink()
    with pytest.raises(SettingError, match=r"n5\.csv\.gz"):
        read_all(str(tmp_path))
