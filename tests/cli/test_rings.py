"""streams, read, record and top --once over streams that a real writer wrote."""

import csv
import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from jepad.ring.layout import Layout
from jepad.ring.writer import Writer
from jepad.sources.replay import read_trace

SERIES = [
    {"name": "cpu.busy", "unit": "tick", "semantics": "counter"},
    {"name": "mem.MemFree", "unit": "KiB", "semantics": "gauge"},
    {"name": "evil\x1b[2J", "unit": "", "semantics": "gauge"},
]
FORECAST = [{"name": "mem.MemFree", "unit": "KiB", "semantics": "gauge"}]


@pytest.fixture
def telemetry(environment, prefix, monkeypatch):
    """A telemetry stream of six samples; more come with publish(i)."""
    monkeypatch.setenv("JEPAD_SHM_PREFIX", prefix)
    schema = {"series": SERIES, "interval_s": 1.0}
    layout = Layout("telemetry", np.dtype(np.float64), (3,), schema, 16)
    writer = Writer.create(prefix, layout)

    def publish(i):
        values = np.array([100.0 * i, 2048.0 + i, np.nan])
        writer.publish(values, t_ns=i * 10**9, flags=1 if i == 0 else 0)

    for i in range(6):
        publish(i)
    yield publish
    writer.retire()


@pytest.fixture
def predictions(telemetry, prefix):
    """Forecasts of mem.MemFree at two horizons."""
    schema = {"series": FORECAST, "horizons_s": [1.0, 64.0],
              "columns": ["p10", "p50", "p90", "p_rise", "weight"]}  # fmt: skip
    layout = Layout("predictions.machine", np.dtype(np.float32), (1, 2, 5), schema, 4)
    writer = Writer.create(prefix, layout)
    rows = [[1.0, 2.0, 3.0, 0.1, 1.0], [1024.0, 2048.0, 4096.0, 0.2, 0.5]]
    writer.publish(np.array([rows], np.float32), t_ns=1)
    yield writer
    writer.retire()


def test_streams_are_listed_with_shape_and_state(predictions, jepactl):
    lines = jepactl("streams").stdout.splitlines()
    assert lines[1].split()[:5] == ["predictions.machine", "live", "1x2x5", "float32", "0"]
    assert lines[2].split()[:5] == ["telemetry", "live", "3", "float64", "5"]
    found = json.loads(jepactl("streams", "--json").stdout)["streams"]
    assert [s["name"] for s in found] == ["predictions.machine", "telemetry"]
    assert jepactl("streams", "--names").stdout == "predictions.machine\ntelemetry\n"


def test_no_stream_is_3(environment, prefix, monkeypatch, jepactl):
    monkeypatch.setenv("JEPAD_SHM_PREFIX", prefix)
    done = jepactl("streams")
    assert (done.returncode, done.stdout) == (3, "")
    assert "jepad --session" in done.stderr


def test_a_file_that_is_no_stream_is_listed_as_unreadable(telemetry, prefix, jepactl):
    with open(f"/dev/shm/{prefix}.junk", "wb") as file:
        file.write(b"no stream" * 1000)
    line = jepactl("streams").stdout.splitlines()[1]
    assert line.startswith("junk       unreadable")


def test_read_as_json_lines_newest_last(telemetry, jepactl):
    done = jepactl("read", "telemetry", "--count", "2", "--json")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["n"], second["n"], second["t_ns"]) == (4, 5, 5 * 10**9)
    values = {"cpu.busy": 500.0, "mem.MemFree": 2053.0, "evil\x1b[2J": None}
    assert second["values"] == values


def test_read_as_csv_has_a_column_a_number(predictions, jepactl):
    done = jepactl("read", "predictions.machine", "--format", "csv")
    head, row = list(csv.reader(done.stdout.splitlines()))
    assert head[3:5] == ["mem.MemFree/1s/p10", "mem.MemFree/1s/p50"]
    assert len(head) == len(row) == 13
    assert [float(v) for v in row[3:6]] == [1.0, 2.0, 3.0]


def test_read_as_a_table_tells_gaps_and_hides_escapes(telemetry, jepactl):
    lines = jepactl("read", "telemetry", "--count", "100").stdout.splitlines()
    assert lines[0] == "# 0 at 0.000 s  after a gap"
    assert lines[2].split() == ["mem.MemFree", "2048"]
    assert lines[3].split() == ["evil\ufffd[2J", "nan"]
    assert len(lines) == 6 * 4


def test_read_of_some_series(telemetry, jepactl):
    assert jepactl("read", "telemetry", "--series", "mem.*").stdout.count("\n") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["read", "telemtry"], "no stream 'telemtry'; did you mean telemetry?"),
        (["read", "telemetry", "--series", "mem.MemFre"], "did you mean mem.MemFree?"),
        (["read", "../etc/passwd"], "no stream"),
    ],
)
def test_mistyped_names_are_told_with_a_near_one(telemetry, jepactl, words, said):
    done = jepactl(*words)
    assert done.returncode == 1
    assert said in done.stderr


def test_follow_prints_each_new_record_until_ctrl_c(telemetry):
    child = subprocess.Popen(
        [sys.executable, "-m", "jepad.cli", "read", "telemetry", "--follow", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    seen = [json.loads(child.stdout.readline())["n"]]
    for i in (6, 7):
        telemetry(i)
        seen.append(json.loads(child.stdout.readline())["n"])
    child.send_signal(signal.SIGINT)
    rest, _ = child.communicate(timeout=30)
    assert (seen, rest, child.returncode) == ([5, 6, 7], "", 0)


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_recording_can_be_replayed(telemetry, tmp_path, jepactl, ending):
    path = f"{tmp_path}/trace.{ending}"
    stop = threading.Event()

    def write():
        for i in range(6, 400):
            if stop.wait(0.02):
                return
            telemetry(i)

    thread = threading.Thread(target=write)
    thread.start()
    done = jepactl("record", path, "--seconds", "700ms", "--json")
    stop.set()
    thread.join()
    told = json.loads(done.stdout)
    assert (done.returncode, told["ended"], told["series"]) == (0, "time", 3)
    trace = read_trace(path)
    assert [s.name for s in trace.series] == [s["name"] for s in SERIES]
    assert len(trace.t_s) == told["samples"] >= 1
    assert np.array_equal(trace.values[:, 0], 100 * trace.t_s)


def test_a_recording_ends_well_with_ctrl_c(telemetry, tmp_path):
    path = tmp_path / "trace.csv"
    child = subprocess.Popen(
        [sys.executable, "-m", "jepad.cli", "record", str(path)], stderr=subprocess.PIPE, text=True
    )
    i, end = 6, time.monotonic() + 30
    while not (path.exists() and path.read_bytes().count(b"\n") > 2) and time.monotonic() < end:
        telemetry(i)
        i += 1
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 0
    assert "ended: interrupt" in said
    assert len(read_trace(str(path)).t_s) >= 2


def test_a_file_that_exists_is_kept(telemetry, tmp_path, jepactl):
    path = tmp_path / "trace.csv"
    path.write_text("precious")
    done = jepactl("record", str(path), "--seconds", "1s")
    assert (done.returncode, path.read_text()) == (2, "precious")
    assert "--force" in done.stderr


def test_top_once_shows_now_history_and_what_is_ahead(predictions, jepactl):
    lines = jepactl("top", "--once").stdout.splitlines()
    assert lines[0] == "jepad live, 6 samples; out of reach on the bus"
    assert lines[3].split() == ["SERIES", "NOW", "in", "1s", "in", "1m4s"]
    near, far = "2.0 (1.0 … 3.0) KiB", "2.0 (1.0 … 4.0) MiB"
    assert lines[4].split() == ["mem.MemFree", "▁▂▄▅▇█", "2.0", "MiB", *near.split(), *far.split()]


def test_top_of_a_series_that_is_not_forecast(predictions, jepactl):
    done = jepactl("top", "--once", "--series", "cpu.*")
    assert done.stdout.splitlines()[4].split() == ["cpu.busy", "▁▁▁▁▁", "100.0", "%"]


def test_top_as_json(predictions, jepactl):
    (row,) = json.loads(jepactl("top", "--json").stdout)["series"]
    assert (row["series"], row["now"], len(row["history"])) == ("mem.MemFree", 2053.0, 6)
    assert row["horizons"][1] == {"horizon_s": 64.0, "p10": 1024.0, "p50": 2048.0, "p90": 4096.0}
