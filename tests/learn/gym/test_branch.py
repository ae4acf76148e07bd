"""Plans of guests: pure, within what a guest has, and in the agent's own grammar."""

import re

import pytest

from jepad.learn.gym import branch
from jepad.learn.gym.episodes import Applied
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
