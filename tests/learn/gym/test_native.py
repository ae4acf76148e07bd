"""Sessions under this machine's own kernel: short, but real."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.learn.gym import __main__ as main
from jepad.learn.gym import groups, native
from jepad.learn.gym.episodes import Applied, read_manifest, trace_path
from jepad.learn.gym.groups import Group
from jepad.learn.gym.native import Take, opened, takes
from jepad.learn.gym.schedule import MIB, Plan, Unit
from jepad.learn.gym.workloads import Bench, Job
from jepad.sources.replay import read_trace

PREFIX = f"jepad-gym-test-{os.getpid()}"
GROUND = replace(native.GROUND, prefix=PREFIX, workloads=("idle", "hog", "burst", "leak"))
ROOT = Path(__file__).parents[3]


def _refused():
    try:
        groups.check()
    except SettingError as error:
        return str(error)
    return ""


REFUSED = _refused()


def real(test):
    """Needs root and v1 controllers; where they are not, the refusal is what is tested."""
    test = pytest.mark.skipif(bool(REFUSED), reason=REFUSED)(test)
    return pytest.mark.may_skip("control groups of this kernel, as root")(test)


def session(seed=900, hz=5.0, seconds=4.0, actions=()):
    units = tuple(Unit(f"{PREFIX}/{name}", name, 64, 0.3) for name in ("idle", "hog"))
    return Take(Plan(seed, hz, seconds, units, tuple(actions)), twin=False)


def left_over(prefix=PREFIX):
    places = [os.path.join(groups.MOUNT, tree, prefix) for tree in groups.TREES]
    return [p for p in [*places, f"{native.CACHE}/{prefix}"] if os.path.exists(p)]


@real
def test_a_session_is_recorded_with_its_actions(tmp_path):
    hog = f"{PREFIX}/hog"
    actions = [
        Applied(1.0, "freeze", hog, 0.0),
        Applied(2.5, "thaw", hog, 0.0, undo=True),
        Applied(3.0, "memory.high", hog, 60.0 * MIB),
        Applied(3.2, "memory.low", hog, 8.0 * MIB),
        Applied(3.4, "cpu.weight", hog, 25.0),
    ]
    times = []
    with opened(str(tmp_path), GROUND) as gym:
        episode = gym.record(session(actions=actions), times.append)
    assert read_manifest(str(tmp_path)) == [episode]
    assert left_over() == []
    trace = read_trace(trace_path(str(tmp_path), episode))
    assert np.allclose(trace.t_s, times, atol=1e-3)
    at = {s.name: trace.values[:, i] for i, s in enumerate(trace.series)}
    for field in ("memory_current", "cpu_usage", "memory_pressure", "cpu_pressure", "io_pressure"):
        assert np.isfinite(at[f"cgroup.{hog}.{field}"]).all(), field
    assert {"psi.memory.some.total", "mem.MemFree", "cpu.user", "label.oom_kills"} <= set(at)
    assert at["label.oom_kills"].max() == episode.labels["oom_kills"] == 0
    did = {a.kind: a for a in episode.actions}
    assert [a.kind for a in episode.actions] == [a.kind for a in actions]
    assert did["memory.high"].value >= 60.0 * MIB
    # Frozen, it uses nothing; the row after the action is the first that shows it.
    frozen = (trace.t_s > did["freeze"].t + 0.3) & (trace.t_s < did["thaw"].t)
    assert frozen.sum() >= 2
    assert np.ptp(at[f"cgroup.{hog}.cpu_usage"][frozen]) < 1e4
    assert np.ptp(at[f"cgroup.{hog}.cpu_usage"]) > 1e4


@real
def test_it_goes_on_where_it_stopped(tmp_path):
    seed = 2
    first, second = takes(seed, GROUND)
    assert (first.twin, second.twin) == (True, False)
    assert (first.actions, first.id) == ((), "native-0002-twin")
    short = [replace(t, plan=replace(session().plan, seed=seed, seconds=1.0)) for t in takes(seed)]
    with opened(str(tmp_path), GROUND) as gym:
        assert [t.id for t in gym.wanted(seed)] == [first.id, second.id]
        gym.record(short[0], lambda t: None)
    with opened(str(tmp_path), GROUND) as gym:
        assert [t.id for t in gym.wanted(seed)] == [second.id]
        gym.record(short[1], lambda t: None)
        assert gym.wanted(seed) == []
    twin, acted = read_manifest(str(tmp_path))
    assert (twin.twin, acted.twin) == (None, twin.id)
    assert {twin.split, acted.split} == {"held"}


RECORDER = """
import sys
from tests.learn.gym import test_native as t
t.PREFIX = sys.argv[2]
ground = t.replace(t.GROUND, prefix=sys.argv[2])
def row(time):
    print("row", flush=True)
import jepad.learn.gym.__main__ as main, signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, main._stop)
with t.opened(sys.argv[1], ground) as gym:
    gym.record(t.session(seconds=300.0), row)
"""


@contextlib.contextmanager
def recorder(out, prefix):
    child = subprocess.Popen(
        [sys.executable, "-c", RECORDER, out, prefix], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"row\n"
        yield child
    finally:
        child.kill()
        child.wait(30)
        child.stdout.close()


def _runs(pid):
    """Whether it is there and more than a dead child that init has yet to bury."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def members(prefix):
    return [pid for name in ("idle", "hog") for pid in Group(f"{prefix}/{name}")._pids()]


@real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_it_leaves_nothing(tmp_path, number):
    prefix = f"{PREFIX}-{number}"
    with recorder(str(tmp_path), prefix) as child:
        # The first row may come before the shells are in their groups.
        end = time.monotonic() + 60
        while len(pids := members(prefix)) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        assert len(pids) >= 2
        child.send_signal(number)
        child.wait(60)
    assert left_over(prefix) == []
    assert not [pid for pid in pids if _runs(pid)]
    assert read_manifest(str(tmp_path)) == []


@real
def test_killed_its_groups_go_at_the_next_start(tmp_path):
    prefix = f"{PREFIX}-kill"
    with recorder(str(tmp_path), prefix) as child:
        with pytest.raises(SettingError, match="another gym"), opened(str(tmp_path), _at(prefix)):
            pass
        Group(f"{prefix}/hog").act("freeze", 0.0)
        child.kill()
        child.wait(30)
    assert left_over(prefix)
    with opened(str(tmp_path), _at(prefix)):
        assert members(prefix) == []
    assert left_over(prefix) == []


@real
def test_loads_die_with_the_gym(tmp_path):
    prefix = f"{PREFIX}-orphans"
    with recorder(str(tmp_path), prefix) as child:
        child.kill()
        child.wait(30)
    end = time.monotonic() + 60
    while members(prefix) and time.monotonic() < end:
        time.sleep(0.1)
    assert members(prefix) == []
    groups.sweep(prefix)
    with opened(str(tmp_path), _at(prefix)):
        pass


def _at(prefix):
    return replace(GROUND, prefix=prefix)


@real
def test_a_load_that_can_not_run_ends_the_session(tmp_path):
    take = session(seconds=60.0)
    broken = replace(take.plan, units=(Unit(f"{PREFIX}/thrash", "thrash", 64, 0.3),))
    with (
        pytest.raises(SettingError, match=r"thrash: ended with 1: load: .*pages: No such file"),
        opened(str(tmp_path), GROUND) as gym,
    ):
        gym.record(Take(broken, twin=False), lambda t: None)
    assert left_over() == []
    assert read_manifest(str(tmp_path)) == []


STUBBORN = ["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"]


def test_what_will_not_end_is_killed_and_the_rest_ended_too(monkeypatch):
    monkeypatch.setattr(native, "_PATIENCE_S", 0.5)
    running = native._Session(Take(Plan(900, 1.0, 1.0, (), ()), twin=False), Bench("/", 0))
    for name, argv in (("one", STUBBORN), ("two", STUBBORN), ("calm", ["sleep", "300"])):
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
        assert name == "calm" or child.stdout.readline() == b"up\n"
        running._children.append((Job(tuple(argv), name), child))
    # A group that can't be taken away is no reason to leave the children.
    running._groups["stays"] = Stays("stays")
    with pytest.raises(SettingError, match=r"^it stays; one: had .*; two: had"):
        running._end()
    assert all(child.returncode is not None for _, child in running._children)
    assert all(child.stdout.closed for _, child in running._children)


class Stays(Group):
    def remove(self):
        raise SettingError("it stays")


@pytest.mark.parametrize(
    ("code", "limit", "told"),
    [
        ("echo no room >&2; exit 3", 60, "returned non-zero exit status 3.: no room"),
        ("exec sleep 60", 0.2, "timed out after 0.2 seconds"),
    ],
)
def test_a_program_that_fails_is_told_in_words(monkeypatch, capsys, code, limit, told):
    def broken(_options):
        subprocess.run(["sh", "-c", code], check=True, capture_output=True, timeout=limit)

    monkeypatch.setattr(sys, "argv", ["gym"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(main, "record", broken)
    assert main.main() == 1
    said = capsys.readouterr().err
    assert said.startswith("gym: Command ")
    assert said.endswith(f"{told}\n")


@real
def test_a_squeeze_leaves_room_for_what_can_not_go(tmp_path):
    with groups.below(PREFIX):
        group = Group(f"{PREFIX}/one")
        group.make(256 * MIB, 0.3)
        assert group.act("memory.high", 4096.0) >= 40 * MIB
        assert group.act("memory.high", 200.0 * MIB) == 200.0 * MIB
        with pytest.raises(ValueError, match="no action 'warm'"):
            group.act("warm", 0.0)
    assert left_over() == []


def test_without_root_it_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SettingError, match="needs root and a writable cgroup hierarchy"):
        groups.check()
    monkeypatch.undo()
    monkeypatch.setattr(groups, "MOUNT", "/nowhere")
    with pytest.raises(SettingError, match="needs root"):
        groups.check()


def test_list_and_mistakes_on_the_command_line(tmp_path):
    def gym(*words):
        return subprocess.run(
            [sys.executable, "-m", "jepad.learn.gym", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )

    empty = gym("--list", "--out", str(tmp_path))
    assert (empty.returncode, empty.stdout) == (0, "0 episodes, 0.0 h, 0 actions, 0.0 MB\n")
    (tmp_path / "MANIFEST.json").write_text("{")
    damaged = gym("--list", "--out", str(tmp_path))
    assert damaged.returncode == 2
    assert damaged.stderr.startswith(f"gym: {tmp_path}/MANIFEST.json: not a gym's manifest")
    assert gym("--floor", "roof").returncode == 2
