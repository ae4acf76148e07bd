"""doctor on this machine, healthy and then with things really broken."""

import json

import pytest

from jepad.cli.bus import Client
from jepad.cli.checks import ABSENT, BROKEN, OK, _advice
from jepad.paths import Roots


@pytest.fixture
def own_prefix(prefix, monkeypatch, environment):
    monkeypatch.setenv("JEPAD_SHM_PREFIX", prefix)
    monkeypatch.setenv("XDG_CONFIG_HOME", f"{environment['XDG_RUNTIME_DIR']}/config")
    return prefix


def checks(jepactl):
    done = jepactl("doctor", "--session", "--json")
    told = json.loads(done.stdout)
    assert told["broken"] == sum(c["state"] == BROKEN for c in told["checks"])
    assert done.returncode == (1 if told["broken"] else 0)
    return {c["name"]: c for c in told["checks"]}


def test_what_is_only_absent_is_not_broken(own_prefix, jepactl):
    found = checks(jepactl)
    assert found["source cpu"]["state"] == found["model"]["state"] == OK
    assert found["jepad"]["state"] == found["session bus"]["state"] == ABSENT
    assert "jepad --session" in found["jepad"]["todo"]
    assert not [c for c in found.values() if c["state"] == BROKEN]


def test_a_running_jepad_is_seen(own_prefix, on_bus, jepactl):
    found = checks(jepactl)
    assert found["session bus"]["state"] == OK
    assert found["jepad"]["what"] == "running on the session bus, pid 7; engine running"
    Client("session").call("org.jepad1.Manager", "Raise")  # it is degraded from now on
    assert checks(jepactl)["jepad"]["state"] == BROKEN


def test_doctor_for_people(own_prefix, jepactl):
    lines = jepactl("doctor", "--session").stdout.splitlines()
    assert lines[0].startswith("ok      kernel")
    assert lines[-1] == "nothing broken"


def test_a_wrong_setting_is_broken(own_prefix, environment, jepactl, monkeypatch, tmp_path):
    settings = tmp_path / "jepad.toml"
    settings.write_text("[risk]\nraise_ta = 1\n")
    monkeypatch.setenv("JEPAD_CONFIG", str(settings))
    found = checks(jepactl)
    assert found["settings"]["state"] == BROKEN
    assert "did you mean risk.raise_at?" in found["settings"]["what"]


def test_a_damaged_stream_is_broken(own_prefix, jepactl):
    with open(f"/dev/shm/{own_prefix}.telemetry", "wb") as file:
        file.write(bytes(8192))
    assert checks(jepactl)["stream telemetry"]["state"] == BROKEN


def test_permission_is_advised_only_where_there_is_a_power_counter(tmp_path):
    roots = Roots(sys=str(tmp_path))
    assert _advice("rapl", roots) == ""
    (tmp_path / "class/powercap").mkdir(parents=True)
    assert _advice("rapl", roots) == ""
    (tmp_path / "class/powercap/intel-rapl:0").mkdir()
    assert "readable by root only" in _advice("rapl", roots)
