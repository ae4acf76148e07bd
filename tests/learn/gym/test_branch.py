"""Plans of guests: pure, possible, in the agent's own grammar; and seeds that broke off."""

import contextlib
import re
import subprocess

import pytest

from jepad.errors import SettingError
from jepad.learn.gym import branch, guest, image
from jepad.learn.gym.episodes import Applied, Episode, read_manifest
from jepad.learn.gym.frames import Frame

SEEDS = range(120)
LINE = re.compile(
    r"hz \d+|go|\d+(\.\d)? (run (\w+) \w+ \d+ \d+ \d+ \d+|stop \w+|write /\S+ \w+|swapon /\S+)"
)


def used(unit, used_bytes):
    return Frame(0, {f"/sys/fs/cgroup/{unit}/memory.current": b"%d\n" % used_bytes})


def test_a_seed_means_one_plan():
    assert [branch.plan(s) for s in SEEDS] == [branch.plan(s) for s in SEEDS]
    assert len({branch.plan(s) for s in SEEDS}) == len(SEEDS)


def test_the_agent_understands_the_scripts():
    for seed in SEEDS:
        lines = branch.script(branch.plan(seed))
        assert all(LINE.fullmatch(line) for line in lines), lines
        assert lines[-1] == "go"
        assert len(lines) < 400
        assert max(map(len, lines)) < 200


def test_long_guests_are_left_alone():
    for plan in (branch.plan(s) for s in SEEDS if s % 4 == 3):
        assert plan.seconds >= 1200
        assert not plan.wishes
        assert all(load.end < plan.seconds for load in plan.loads)
        assert len({load.unit for load in plan.loads}) <= 6


def test_other_guests_are_acted_on():
    for plan in (branch.plan(s) for s in SEEDS if s % 4 != 3):
        units = {load.unit for load in plan.loads}
        assert len(units) <= 6
        assert 2 <= len(plan.wishes) <= 5
        assert len(set(plan.wishes)) == len(plan.wishes)
        assert {wish.unit for wish in plan.wishes} <= units | {""}
        assert any(wish.kind == "memory.high" for wish in plan.wishes)
        frozen = [wish.unit for wish in plan.wishes if wish.kind == "thaw"]
        assert frozen == ([plan.frozen] if plan.frozen else [])


def test_all_kinds_of_actions_and_both_kinds_of_swap_are_seen():
    plans = [branch.plan(s) for s in SEEDS]
    assert {w.kind for p in plans for w in p.wishes} == {
        "memory.high",
        "memory.low",
        "cpu.weight",
        "freeze",
        "thaw",
        "drop_caches",
    }
    assert {p.swap for p in plans if p.wishes} == {True, False}
    assert {p.swap for p in plans if not p.wishes} == {True, False}


def test_a_share_becomes_bytes_by_what_the_unit_uses():
    wish = branch.Wish("memory.high", "files", 0.5)
    action = branch.applied(wish, used("files", 100 << 20))
    assert action == Applied(0.0, "memory.high", "files", float(50 << 20))
    assert branch.command(action) == "0 act /sys/fs/cgroup/files/memory.high 52428800"


def test_a_limit_is_never_next_to_nothing():
    action = branch.applied(branch.Wish("memory.high", "idle", 0.5), used("idle", 4096))
    assert action.value == branch._SMALLEST


@pytest.mark.parametrize(
    ("kind", "value", "line"),
    [
        ("cpu.weight", 400.0, "0 act /sys/fs/cgroup/hog/cpu.weight 400"),
        ("freeze", 0.0, "0 act /sys/fs/cgroup/hog/cgroup.freeze 1"),
        ("thaw", 0.0, "0 act /sys/fs/cgroup/hog/cgroup.freeze 0"),
        ("drop_caches", 0.0, "0 act /proc/sys/vm/drop_caches 3"),
    ],
)
def test_other_actions_are_one_write(kind, value, line):
    action = branch.applied(branch.Wish(kind, "hog", value), used("hog", 1))
    assert action.value == value
    assert branch.command(action) == line


class Killed(BaseException):
    """Stands for the end of the process: nothing in the gym catches it."""


def trunk_run(mark, until=99):
    """One run of a trunk and its branches that says which run it was and ends after so many."""

    def episodes(place, made, _base):
        for i, name in enumerate(branch.ids(made)):
            if i == until:
                raise Killed
            (place / f"{name}.csv.gz").write_text(mark)
            yield Episode(
                name, f"{name}.csv.gz", "guest", made.seed, 1.0, 196.0, mark, 1, 0, {"hog": "hog"}
            )

    return episodes


def marks(out):
    """Which run each episode is of, by the manifest and by the file, which must agree."""
    found = read_manifest(str(out))
    assert [(out / e.file).read_text() for e in found] == [e.kernel for e in found]
    return [e.kernel for e in found]


def test_a_broken_seed_is_recorded_on_from_one_trunk(tmp_path, monkeypatch):
    made, lines = branch.plan(0), []
    whole = len(branch.ids(made))

    def record(*run):
        monkeypatch.setattr(branch, "_episodes", trunk_run(*run))
        with contextlib.suppress(Killed):
            branch._record(tmp_path, made, None, lines.append)
        assert not list(tmp_path.glob("*.part"))
        return marks(tmp_path)

    assert record("first", 2) == ["first"] * 2
    # One that gets no further than the one before changes nothing: no mixed twins.
    assert record("second", 2) == ["first"] * 2
    assert record("third", 3) == ["third"] * 3
    assert branch.recorded(tmp_path, made) == 3 < whole
    assert record("fourth") == ["fourth"] * whole
    assert [e.id for e in read_manifest(str(tmp_path))] == branch.ids(made)


def test_the_traces_a_kill_left_aside_go(tmp_path, monkeypatch):
    monkeypatch.setattr(branch, "_episodes", trunk_run("next"))
    (tmp_path / "guest-0000.part").mkdir()
    (tmp_path / "guest-0000.part/old").touch()
    branch._record(tmp_path, branch.plan(0), None, str)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.may_skip("needs qemu")
def test_three_guests_that_fail_in_a_row_end_it(tmp_path, monkeypatch):
    if image.missing_tools():
        pytest.skip("no qemu here")
    disk, ready = tmp_path / "disk.raw", tmp_path / f"ready-{guest.SHIFT}-{guest._MEMORY_MIB}.qcow2"
    disk.write_bytes(b"\0" * (1 << 20))
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", ready]
    subprocess.run(create, check=True, timeout=60)
    broken = image.Image("/nonexistent/kernel", "/nonexistent/initramfs", str(disk), "")
    monkeypatch.setattr(image, "build", lambda: broken)
    lines = []
    with pytest.raises(SettingError, match=r"qemu .*nonexistent"):
        branch.run(tmp_path / "out", 60.0, 4, lines.append)
    assert [line.split(":")[0] for line in lines] == [
        f"guest-{seed:04d} given up" for seed in (4, 5, 6)
    ]
    assert read_manifest(str(tmp_path / "out")) == []
