"""jepactl what-if: what it asks, how it shows the answer; and the whole path on this machine."""

import json
import re
import subprocess

import pytest

from jepad.cli.options import amount
from tests import graph
from tests.running import daemon, described, environment, until
from tests.running import jepactl as live_jepactl

FREEZE = ("what-if", "freeze", "app.slice/x")


def told(done):
    """Domain, action, parameters and options as they came over the bus."""
    assert done.returncode == 0, done.stderr
    domain, action, given = json.loads(json.loads(done.stdout)["told"])
    return domain, action, given["parameters"], given["options"]


def test_it_shows_the_unit_and_what_clearly_changes(on_bus, jepactl):
    done = jepactl(*FREEZE)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["SERIES", "WITHOUT", "WITH", "DIFFERENCE", "P10", "P90"]
    assert lines[1].startswith("cgroup.app.slice/x\N{REPLACEMENT CHARACTER}[2J.memory_current")
    assert re.split(r"  +", lines[1])[1:] == ["1.0 KiB", "512 B", "-512 B", "-1.0 KiB", "+512 B"]
    assert re.split(r"  +", lines[2]) == [
        "cpu.busy", "100.0 %", "0.0 %", "-100.0 %", "-120.0 %", "-80.0 %"
    ]  # fmt: skip
    assert lines[3] == "1 other series: no clear difference"
    assert lines[4].startswith("in 1m, if now: freeze app.slice/x")
    assert lines[4].endswith("from the model abababababab, 0s old. Nothing was done.")


def test_a_pattern_shows_all_of_it(on_bus, jepactl):
    done = jepactl(*FREEZE, "--series", "psi.*")
    assert "no clear difference" not in done.stdout
    assert "load1" in done.stdout
    assert told(jepactl(*FREEZE, "--series", "psi.*", "--json"))[0] == "psi.*"


def test_what_is_asked_is_what_was_typed(on_bus, jepactl):
    words = ("what-if", "memory.high", "app.slice", "1.5G", "--horizon", "2m", "--json")
    domain, action, parameters, options = told(jepactl(*words))
    assert (domain, action, options) == ("all", "memory.high", {})
    assert parameters == {"unit": ["s", "app.slice"], "value": ["d", 1.5 * 2**30]}
    assert told(jepactl("what-if", "drop_caches", "--json"))[2] == {}
    assert json.loads(jepactl(*words).stdout)["horizon_usec"] == 120_000_000


def test_actions_in_turn(on_bus, jepactl):
    words = ["--then", "30s:thaw", "--then", "1m:memory.high=1K@b@1.service", "--json"]
    options = told(jepactl(*FREEZE, *words))[3]
    assert options["then"] == [
        "a(ssdt)",
        [
            ["thaw", "app.slice/x", 0.0, 30_000_000],
            ["memory.high", "b@1.service", 1024.0, 60_000_000],
        ],
    ]
    shown = jepactl(*FREEZE, "--then", "30s:thaw").stdout
    assert "if now: freeze app.slice/x" in shown
    assert ", then 30s:thaw;" in shown


def test_each_moment_has_a_line(on_bus, jepactl):
    lines = jepactl(*FREEZE, "--steps").stdout.splitlines()
    assert lines[0].split()[:2] == ["SERIES", "IN"]
    assert [line.split()[1] for line in lines[1:5]] == ["1s", "1m4s"] * 2


def test_json_has_the_members_the_page_names(on_bus, jepactl):
    got = json.loads(jepactl(*FREEZE, "--steps", "--json").stdout)
    assert {
        "bus", "action", "domain", "unit", "series", "units", "horizon_usec", "without", "with",
        "difference", "confidence", "part", "model", "age_usec", "source_n", "actions", "steps",
    } <= set(got)  # fmt: skip
    assert got["with"][2] == [1.0, 2.0, None]


def test_units_are_listed(on_bus, jepactl):
    assert jepactl("what-if", "--units").stdout == "app.slice\na\N{REPLACEMENT CHARACTER}[2J\n"
    got = json.loads(jepactl("what-if", "--units", "--json").stdout)
    assert got["units"] == ["app.slice", "a\x1b[2J"]
    assert "drop_caches" in got["actions"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "name an ACTION: memory.high"),
        (["freeze"], 2, "freeze wants a unit"),
        (["power.profile"], 1, "never been measured"),
        (["memory.high", "a", "lots"], 2, "'lots' is no amount; write 100, 512M or 1.5G"),
        (["memory.high", "a", "nan"], 2, "is no amount"),
        (["memory.high", "a", "9e99"], 2, "is no amount"),
        (["freeze", "a", "--then", "thaw"], 2, "write TIME:ACTION, as in 30s:thaw"),
        (["freeze", "a", "--then", "soon:thaw"], 2, "--then soon:thaw: 'soon' is no duration"),
        (["freeze", "a", "--then", "1s:memory.high=x"], 2, "'x' is no amount"),
        (["freeze", "a", "--stesp"], 2, "did you mean --steps?"),
        (["freeze", "a", "--horizon", "x"], 2, "is no duration"),
    ],
)
def test_wrong_usage_says_what_to_write(on_bus, jepactl, words, code, said):
    done = jepactl("what-if", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_a_stopped_jepad_is_3(jepactl):
    assert jepactl(*FREEZE).returncode == 3
    assert jepactl("what-if", "--units").returncode == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("100", 100),
        ("512M", 2**29),
        ("1.5gib", 1.5 * 2**30),
        ("2KB", 2048),
        ("1T", 2**40),
    ],
)
def test_amounts(text, value):
    assert amount(text) == value


# -- the whole path: telemetry of this machine, an engine with a graph, the bus, two clients --


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A jepad whose model is a graph with actions, with enough samples to ask it."""
    home = tmp_path_factory.mktemp("acting")
    settings = home / "jepad.toml"
    settings.write_text(f'[engine]\nmodel = "{graph.write(home)}"\n')
    with daemon(home, "--config", str(settings)):
        for enough in (1, 10, 20):  # a second each, at best: patience for each of them
            until(f"{enough} samples", lambda n=enough: described(home).get("samples", 0) > n)
        yield home


def live(home, *words):
    done = live_jepactl(home, "what-if", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_dropping_caches_of_this_machine(home):
    got = live(home, "drop_caches", "--series", "mem.*", "--steps")
    assert got["horizon_usec"] == 64_000_000
    assert {"mem.Cached", "mem.MemFree"} <= set(got["series"])
    assert [s["horizon_usec"] for s in got["steps"]] == [10**6, 4 * 10**6, 16 * 10**6, 64 * 10**6]
    for step in got["steps"]:
        for rows in (step["without"], step["with"], step["difference"]):
            assert all(p10 <= p50 <= p90 for p10, p50, p90 in rows)
    place = got["series"].index("mem.Cached")
    assert got["difference"][place][1] < 0
    assert got["with"][place][0] >= 0
    assert got["part"] == "model"
    assert len(got["model"]) == 64


def test_the_words_of_the_service_arrive(home):
    for words, code, said in (
        (["freeze", "no/such.unit"], 1, "no "),
        (["frezee", "x"], 2, "did you mean freeze?"),
        (["drop_caches", "--series", "gpuu"], 1, "no series of 'gpuu'"),
        (["drop_caches", "--horizon", "2h"], 2, "too far ahead"),
        (["drop_caches", "--then", "5m:drop_caches"], 2, "too far ahead"),
    ):
        done = live_jepactl(home, "what-if", *words)
        assert (done.returncode, done.stdout) == (code, ""), words
        assert said in done.stderr


def test_busctl_asks_too(home):
    address = (home / "jepad/bus-address").read_text().strip()
    done = subprocess.run(
        ["busctl", f"--address={address}", "--json=short", "call", "org.jepad1", "/org/jepad1",
         "org.jepad1.WorldModel", "PredictAction", "ssa{sv}ta{sv}",
         "all", "drop_caches", "0", "16000000", "2",
         "steps", "b", "true", "then", "a(ssdt)", "1", "drop_caches", "", "0", "30000000"],
        env=environment(home), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)["data"][0]
    assert answer["difference"]["type"] == "a(ddd)"
    moments = [s["horizon_usec"]["data"] // 10**6 for s in answer["steps"]["data"]]
    assert moments == [1, 4, 16, 31, 34, 46, 94]
    assert answer["horizon_usec"]["data"] == 16_000_000


def test_each_unit_there_is_can_be_asked_about(home):
    units = live_jepactl(home, "what-if", "--units").stdout.split()
    for unit in units[:2]:
        got = live(home, "memory.high", unit, "64M", "--series", "unit")
        assert got["unit"] == unit
        assert all(name.startswith(f"cgroup.{unit}.") for name in got["series"])
