"""What the loads print becomes columns, and an episode a few figures."""

import os

import numpy as np

from jepad.learn.gym.labels import Labels, summary
from jepad.records import Series
from jepad.sources.traces import Trace


def test_labels_take_what_loads_and_pgbench_print():
    outs = [os.pipe() for _ in range(2)]
    labels = Labels({"files": outs[0][0], "postgres": outs[1][0]}, {"files", "postgres"})
    assert np.isnan(labels.read()["label.latency_us"])
    os.write(outs[0][1], b"10 500\n12 90\n13 1")
    os.write(outs[1][1], b"starting\nprogress: 1.0 s, 60.0 tps, lat 2.5 ms stddev 1.0, 0 failed\n")
    assert labels.read() == {
        "label.files.ops": 12.0,
        "label.files.worst_us": 500.0,
        "label.postgres.ops": 60.0,
        "label.postgres.worst_us": 2500.0,
        "label.latency_us": 2500.0,
    }
    os.write(outs[0][1], b"00\n")
    assert labels.read()["label.files.worst_us"] == 100.0
    assert {*labels.read()} == {series.name for series in labels.describe()}
    for fd in sum(outs, ()):
        os.close(fd)


def test_what_is_no_line_of_a_load_is_nothing():
    out, into = os.pipe()
    labels = Labels({"hog": out}, ())
    os.write(into, b"\xff\xfe\n-3 -4\nnan inf\n\n1e3 7 7\n")
    values = labels.read()
    assert values["label.hog.ops"] == 0.0
    assert np.isnan(values["label.hog.worst_us"])
    os.close(into)
    assert labels.read()["label.hog.ops"] == 0.0
    os.close(out)


def recording(hz, columns):
    t = np.arange(0, 20, 1 / hz)
    names = [Series(name, "", "gauge") for name in columns]
    return Trace(tuple(names), t, np.stack([f(t) for f in columns.values()], 1), 1 / hz)


def test_an_episode_in_figures_is_the_same_at_any_rate():
    def stalled(t):  # half of every second from 10 s to 14 s
        return 0.5e6 * np.clip(t - 10, 0, 4)

    columns = {
        "psi.memory.some.total": stalled,
        "cgroup.g/a.memory_pressure": lambda t: 2 * stalled(t),
        "cgroup.g/b.memory_pressure": np.zeros_like,
        "label.oom_kills": lambda t: (t > 15) * 2.0,
        "label.latency_us": lambda t: np.where(t < 5, np.nan, 100.0),
        "mem.MemAvailable": lambda t: 2048.0 * (1 + (t != 7)),
    }
    expected = {
        "oom_kills": 2.0,
        "psi_memory_max": 50.0,
        "psi_memory_group_max": 100.0,
        "stall_s": 4.0,
        "latency_us_p50": 100.0,
        "latency_us_p99": 100.0,
        "mem_available_min_mib": 2.0,
    }
    assert summary(recording(1, columns)) == expected
    assert summary(recording(10, columns)) == expected


def test_what_no_row_knew_is_left_out():
    assert set(summary(recording(1, {"mem.MemFree": np.ones_like}))) == {
        "psi_memory_max",
        "stall_s",
    }
