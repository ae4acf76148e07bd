"""jepactl with the real daemon: what it prints is what jepad serves."""

import json
import signal
import subprocess

import pytest

from jepad.sources.replay import read_trace
from tests.running import BIN, daemon, described, environment, jepactl, until


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A jepad that has some samples and a forecast."""
    home = tmp_path_factory.mktemp("live")
    with daemon(home):
        until("forecasts", lambda: described(home).get("forecast_series", 0) > 0)
        until(
            "the engine's stream", lambda: "predictions.machine" in jepactl(home, "streams").stdout
        )
        yield home


def told(home, *words):
    done = jepactl(home, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_status_has_the_members_the_page_names(home):
    found = told(home, "status")
    assert found["bus"] == "session"
    assert {"version", "state", "mode", "uptime_s", "pid", "engine", "model", "anomaly_score",
            "samples", "missed_ticks", "series", "forecast_series", "horizons_s", "sources",
            "risks", "raised", "streams"} <= set(found)  # fmt: skip


def test_predict_every_domain_there_is(home):
    forecasts = told(home, "predict", "--horizon", "16s")["forecasts"]
    assert {"cpu", "memory", "io"} <= {f["domain"] for f in forecasts}
    for forecast in forecasts:
        assert forecast["horizon_usec"] == 16_000_000
        n = len(forecast["series"])
        assert n == len(forecast["units"]) == len(forecast["p50"]) > 0
        assert n == len(forecast["parts"]) == len(forecast["weights"])
        assert all(0 <= weight <= 1 for weight in forecast["weights"])
        assert not set(forecast["silent"]) & set(forecast["series"])


def test_predict_says_what_is_wrong(home):
    done = jepactl(home, "predict", "mem.MemFre")
    assert (done.returncode, done.stdout) == (1, "")
    assert "did you mean mem.MemFree?" in done.stderr
    done = jepactl(home, "predict", "memory", "--horizon", "2d")
    assert done.returncode == 2
    assert "longest" in done.stderr


def test_the_ring_and_the_bus_agree(home):
    names = {s["name"] for s in told(home, "streams")["streams"]}
    assert names == {s["name"] for s in told(home, "status")["streams"]}
    done = jepactl(home, "read", "telemetry", "--json", "--count", "3")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert records[-1]["values"]["mem.MemTotal"] > 0
    assert records[-1]["n"] - records[0]["n"] == len(records) - 1


def test_top_shows_what_is_forecast(home):
    picture = told(home, "top")
    assert picture["state"] in ("running", "degraded", "starting")
    rows = {row["series"]: row for row in picture["series"]}
    assert [h["horizon_s"] for h in rows["cpu.busy"]["horizons"]] == [1, 4, 16, 64, 160, 640]
    assert jepactl(home, "top", "--once").returncode == 0


def test_a_recording_is_a_trace_as_replay_reads_it(home, tmp_path):
    path = f"{tmp_path}/trace.csv.gz"
    done = told(home, "record", path, "--seconds", "1500ms")
    trace = read_trace(path)
    assert len(trace.t_s) == done["samples"] >= 1
    assert len(trace.series) == done["series"] == told(home, "status")["series"]


def test_watch_follows_a_jepad_that_stops(tmp_path):
    with daemon(tmp_path, "--engine", "none") as child:
        until("an answer", lambda: described(tmp_path).get("pid"))
        watch = subprocess.Popen(
            [BIN / "jepactl", "--session", "watch", "--json"],
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        first = watch.stdout.readline()
        assert first, watch.stderr.read()
        assert json.loads(first)["event"] == "state"
        child.send_signal(signal.SIGTERM)
        out, said = watch.communicate(timeout=60)
    # It ended its private bus too, so there is nothing left to watch.
    assert watch.returncode in (0, 3)
    assert "Traceback" not in said + out


def test_doctor_finds_nothing_broken(home):
    until("running", lambda: described(home).get("state") == "running")
    done = jepactl(home, "doctor")
    assert done.returncode == 0, done.stdout
    assert "nothing broken" in done.stdout
