"""The whole path on this machine: /proc → ring → model → forecast → ring, D-Bus, terminal."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.running import BIN, children, daemon, described, environment, jepactl, jepad, until

FIXTURES = Path(__file__).parent / "fixtures"
CARD = json.loads(
    (Path(__file__).parents[1] / "jepad" / "models" / "data" / "machine.json").read_text()
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def live(home):
    """One daemon for all the tests that only ask it."""
    with daemon(home) as child:
        until("a forecast by the model", lambda: described(home).get("state") == "running")
        yield child


def test_seconds_and_json_for_scripts(tmp_path):
    done = jepad(tmp_path, "--session", "--seconds", "30", "--json")
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert got["samples"] >= 10
    assert got["state"] == "running"
    assert len(got["model"]["digest"]) == 64
    assert got["model"]["part"] in ("model", "blend")
    names = [f["series"] for f in got["forecasts"]]
    assert {"cpu.busy", "mem.MemAvailable"} <= set(names)
    for forecast in got["forecasts"]:
        assert [h["horizon_s"] for h in forecast["horizons"]] == [1, 4, 16, 64, 160, 640]
        for h in forecast["horizons"]:
            assert h["p10"] <= h["p50"] <= h["p90"]


def test_status_says_what_runs(live, home):
    done = jepactl(home, "status")
    assert done.returncode == 0
    assert "running" in done.stdout
    assert described(home)["pid"] == live.pid
    states = {s["name"]: s["state"] for s in described(home)["sources"]}
    assert states["cpu"] == states["memory"] == "ok"
    assert "failed" not in states.values()


def test_predict_answers_from_the_last_tick(live, home):
    got = json.loads(jepactl(home, "predict", "memory", "--horizon", "1m", "--json").stdout)
    assert "mem.MemAvailable" in json.dumps(got)


def test_a_killed_engine_is_restarted_and_forecasts_go_on(live, home):
    killed = set()

    def degraded():
        """It is back in a second; killed again and again, the back-off makes the gap visible."""
        for engine in children(live.pid, b"jepad.engine"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(engine, signal.SIGKILL)
            killed.add(engine)
        state = described(home)
        return state.get("state") == "degraded" and state["model"]["part"] == "baseline" and state

    state = until("degraded, by the baseline", degraded)
    assert state["forecast_series"] > 0
    until("running again", lambda: described(home).get("state") == "running")
    assert not killed & set(children(live.pid, b"jepad.engine"))


def test_a_hung_engine_is_replaced(tmp_path):
    settings = tmp_path / "jepad.toml"
    settings.write_text("[engine]\nstall_s = 3\n")
    with daemon(tmp_path, "--config", str(settings)) as child:
        until("running", lambda: described(tmp_path).get("state") == "running")
        (engine,) = children(child.pid, b"jepad.engine")
        os.kill(engine, signal.SIGSTOP)
        until("degraded", lambda: described(tmp_path).get("state") == "degraded")
        until("running", lambda: described(tmp_path).get("state") == "running")
        assert children(child.pid, b"jepad.engine") != [engine]


def test_a_restart_loses_nothing_recorded(tmp_path):
    with daemon(tmp_path) as first:
        until("10 samples", lambda: described(tmp_path).get("samples", 0) >= 10)
        first.kill()
        first.wait()
    with daemon(tmp_path):
        until("more samples than before", lambda: described(tmp_path).get("samples", 0) >= 12)


def test_it_leaves_no_process_and_no_private_bus_behind(tmp_path):
    with daemon(tmp_path) as child:
        until("running", lambda: described(tmp_path).get("state") == "running")
        pids = [
            int(p) for p in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        ]
        assert len(pids) >= 2
        child.terminate()
        assert child.wait(30) == 0
    until("all ended", lambda: not any(Path(f"/proc/{p}/cmdline").exists() for p in pids))


def test_a_second_daemon_is_refused_with_the_reason(live, home):
    done = jepad(home, "--session", "--seconds", "3")
    assert done.returncode == 3
    assert done.stderr.startswith("jepad: a jepad runs already")
    assert "jepactl status" in done.stderr


def test_an_unknown_setting_ends_with_2(tmp_path):
    settings = tmp_path / "jepad.toml"
    settings.write_text("[deamon]\ninterval_s = 1\n")
    done = jepad(tmp_path, "--session", "--config", str(settings))
    assert done.returncode == 2
    assert "did you mean daemon?" in done.stderr


def test_replay_once_forecasts_from_a_recorded_trace(tmp_path):
    trace = FIXTURES / "traces" / "memory_stall_1hz.csv.gz"
    done = jepad(tmp_path, "--replay", str(trace), "--once", "--json")
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert got["model"]["part"] in ("model", "blend")
    assert {"mem.MemFree"} <= {f["series"] for f in got["forecasts"]}


@pytest.mark.parametrize("content", [b"", b"t,a\n1,2\nx,y\n", b"\x1f\x8bgarbage", b"PK\x03\x04no"])
def test_a_broken_trace_is_a_clear_error(tmp_path, content):
    trace = tmp_path / "broken.csv"
    trace.write_bytes(content)
    done = jepad(tmp_path, "--replay", str(trace), "--once")
    assert done.returncode in (1, 2)
    assert "broken.csv" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_with_a_wrong_hash_is_named_and_the_baseline_goes_on(tmp_path):
    for file in (Path(__file__).parents[1] / "jepad" / "models" / "data").glob("machine.*"):
        shutil.copy(file, tmp_path)
    (tmp_path / "machine.onnx").write_bytes(b"not the model")
    settings = tmp_path / "jepad.toml"
    settings.write_text(f"[engine]\nmodel = '{tmp_path}/machine.json'\n")
    done = jepad(tmp_path, "--session", "--seconds", "12", "--json", "--config", str(settings))
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert (got["state"], got["model"]["part"]) == ("degraded", "baseline")
    assert "machine.onnx" in done.stderr
    assert "SHA-256" in done.stderr


@pytest.mark.may_skip("a mount namespace of one's own needs root")
def test_a_full_dev_shm_is_a_clear_error(tmp_path):
    if os.geteuid():
        pytest.skip("not root")
    script = 'mount -t tmpfs -o size=256k none /dev/shm && exec "$0" --session --seconds 3'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, BIN / "jepad"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "/dev/shm" in done.stderr
    assert "Traceback" not in done.stderr
