"""jepactl from the outside: words, exit codes, what it writes where."""

import json
import os
import subprocess
import sys

import pytest

#: Too slow to import for `jepactl status`.
SLOW = {"argparse", "json", "re", "socket", "asyncio", "dbus_fast", "numpy", "typing", "enum"}


def test_status_prints_what_the_daemon_wrote_and_the_bus(on_bus, jepactl):
    done = jepactl("status")
    assert done.returncode == 0
    assert done.stdout == "● jepad \ufffd]0;title\ufffd end\n        Bus: session\n"
    assert done.stderr == ""


def test_status_imports_next_to_nothing(on_bus):
    code = (
        "import sys; before = set(sys.modules); sys.argv = ['jepactl', 'status', '--session']\n"
        "from jepad.cli.__main__ import main; assert main() == 0\n"
        "print(' '.join(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {os.getcwd()!r})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not SLOW & set(done.stdout.splitlines()[-1].split())


def test_status_as_json_names_the_bus(on_bus, jepactl):
    done = jepactl("--json", "status")
    told = json.loads(done.stdout)
    assert (told["bus"], told["state"], told["version"]) == ("session", "running", "0")


@pytest.mark.parametrize("words", [["status"], ["predict"], ["watch"], ["--session", "status"]])
def test_a_stopped_jepad_is_3_with_what_to_do(jepactl, words):
    done = jepactl(*words)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "jepad is not running" in done.stderr
    assert "jepad --session" in done.stderr


def test_a_stopped_jepad_in_json(jepactl):
    done = jepactl("status", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["state"] == "stopped"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statsu"], "no verb 'statsu'; did you mean status?"),
        (["watch", "memroy"], "no domain 'memroy'; did you mean memory?"),
        (["top", "--onec"], "no flag '--onec'; did you mean --once?"),
        (["predict", "--horizon", "1 fortnight"], "is no duration; write 30s, 1m or 2h"),
        (["predict", "--horizon", "0"], "is no duration"),
        (["read", "telemetry", "--count", "-1"], "is no number from 1"),
        (["read", "telemetry", "--count", "x"], "is no number from 1"),
        (["status", "--system", "--session"], "not allowed with"),
        (["read"], "STREAM"),
    ],
)
def test_wrong_usage_is_2_with_a_hint(jepactl, words, said):
    done = jepactl(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "--help" in done.stderr
    assert done.stdout == ""


def test_no_verb_shows_the_help_and_is_wrong_usage(jepactl):
    done = jepactl()
    assert done.returncode == 2
    assert "examples:" in done.stderr


def test_help_has_examples_for_every_verb(jepactl):
    from jepad.cli.options import VERBS

    assert jepactl("--help").returncode == 0
    for verb in VERBS:
        done = jepactl(verb.name, "--help")
        assert done.returncode == 0
        assert all(example in done.stdout for example in verb.examples)


def test_version(jepactl):
    from importlib.metadata import version

    assert jepactl("--version").stdout == f"jepactl {version('jepad')}\n"


def test_colour_only_on_a_terminal_that_wants_it(on_bus, pseudo, monkeypatch):
    assert "\x1b[32m●" in pseudo("status")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in pseudo("status")
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in pseudo("status")


def test_a_reader_that_left_is_no_error(on_bus):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "jepad.cli", "status"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=30,
    )
    os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 141


def test_predict_shows_the_range_in_natural_units(on_bus, jepactl):
    done = jepactl("predict", "memory", "--horizon", "2m")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["SERIES", "P10", "P50", "P90", "PART"]
    assert lines[1].split() == ["memory.one", "1.0", "KiB", "2.0", "KiB", "3.0", "KiB", "model"]
    assert lines[2].split() == ["memory.two", "2", "%", "—", "4,000,000", "%", "blend", "25%"]
    assert (
        lines[3] == "no forecast: memory.mute\N{REPLACEMENT CHARACTER} has no samples, or too few"
    )
    assert lines[4] == "in 2m, from model and baseline abababababab; confidence 0.75; 0s old"


def test_predict_without_a_domain_leaves_out_what_is_absent(on_bus, jepactl):
    done = jepactl("predict", "--json")
    forecasts = json.loads(done.stdout)["forecasts"]
    assert [f["domain"] for f in forecasts] == [
        "cpu", "memory", "io", "network", "disk", "power"
    ]  # fmt: skip
    assert done.stderr == "no forecast: temp.x has no samples\n"
    assert forecasts[0]["parts"] == ["model", "blend"]
    assert (forecasts[0]["weights"], forecasts[0]["silent"]) == ([1.0, 0.25], [])
    assert forecasts[0]["p50"] == [2.0, None]
    assert forecasts[0]["horizon_usec"] == 60_000_000


def test_predict_of_what_is_not_there(on_bus, jepactl):
    done = jepactl("predict", "thermal")
    assert (done.returncode, done.stdout) == (1, "")
    assert "temp.x has no samples" in done.stderr
    assert jepactl("predict", "gpu").returncode == 1
    done = jepactl("predict", "bad")
    assert (done.returncode, done.stderr) == (2, "jepactl: horizon is out of range\n")


def test_watch_tells_each_event_once_and_ends_in_time(on_bus, watching):
    lines = watching("watch", "--seconds", "20")
    assert [line.split("  ", 1)[1] for line in lines] == [
        "state running (session bus)",
        "state degraded",
        "raised 7  memory 83% in 45s [a.slice]: it grows\N{REPLACEMENT CHARACTER}[2J",
        "cleared 7",
        "jepad stopped",
    ]


def test_watch_as_json_lines(on_bus, watching):
    events = [json.loads(line) for line in watching("watch", "memory", "--json")]
    assert [e["event"] for e in events] == ["state", "state", "raised", "cleared", "stopped"]
    assert events[2] | {"time": 0} == {
        "time": 0, "event": "raised", "id": 7, "domain": "memory", "probability": 0.83,
        "eta_s": 45.0, "unit": "a.slice", "cause": "it grows\x1b[2J",
    }  # fmt: skip


def test_watch_of_another_domain_is_quiet(on_bus, watching):
    assert len(watching("watch", "io")) == 3
