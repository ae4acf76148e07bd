"""A session is a pure function of its seed, and one that can be carried out."""

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jepad.learn.gym.episodes import Applied
from jepad.learn.gym.native import GROUND
from jepad.learn.gym.schedule import HOLD_S, MIB, TRAITS, WARM_UP_S, plan

ROOT = Path(__file__).parents[3]
PLANS = [plan(seed, GROUND) for seed in range(200)]
GUEST = replace(GROUND, floor="guest", actions=1, kinds={"freeze": 1})


def test_the_seed_alone_decides():
    code = "from tests.learn.gym.test_schedule import PLANS; print(PLANS)"
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": salt, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for salt in ("1", "2")
    }
    assert told == {f"{PLANS}\n"}


def test_seeds_and_floors_differ():
    assert len({(p.units, p.actions) for p in PLANS}) == len(PLANS)
    assert plan(0, GROUND).units != plan(0, GUEST).units


def test_the_recorded_sessions_stay_what_they_were():
    """Another draw would give new sessions the names of old ones."""
    found = plan(1, GROUND)
    assert [u.workload for u in found.units] == ["compile", "sqlite", "hog", "archive"]
    assert found.actions == (Applied(62.2, "memory.high", "jepad-gym/archive", 93.0 * MIB),)


@pytest.mark.parametrize("found", PLANS[:40], ids=lambda p: str(p.seed))
def test_units(found):
    assert 2 <= len(found.units) <= 4
    assert len({u.name for u in found.units}) == len(found.units)
    assert all(u.name == f"jepad-gym/{u.workload}" for u in found.units)
    assert all(0.25 <= u.cores <= 0.4 for u in found.units)
    assert all(60 <= u.memory_mib <= 500 for u in found.units if u.workload != "flood")


@pytest.mark.parametrize("found", PLANS[:40], ids=lambda p: str(p.seed))
def test_every_action_stands_as_long_as_it_is_measured(found):
    times = [a.t for a in found.actions]
    assert times == sorted(times)
    assert all(t >= WARM_UP_S for t in times)
    for action, after in itertools.zip_longest(found.actions, found.actions[1:]):
        if not action.undo:
            assert (after.t if after else found.seconds) >= action.t + 64
        if after and after.undo:
            assert (after.unit, after.t) == (action.unit, round(action.t + HOLD_S, 1))


def test_only_what_is_cached_is_squeezed():
    workload = {u.name: u.workload for p in PLANS for u in p.units}
    squeezed = [a for p in PLANS for a in p.actions if a.kind == "memory.high" and not a.undo]
    assert squeezed
    assert all(TRAITS[workload[a.unit]].cached for a in squeezed)
    assert all(16 * MIB <= a.value <= 512 * MIB for a in squeezed)


def test_what_is_frozen_is_thawed():
    for found in PLANS:
        frozen = [i for i, a in enumerate(found.actions) if a.kind == "freeze"]
        for i in frozen:
            assert i == len(found.actions) - 1 or found.actions[i + 1].kind == "thaw"


def test_every_fourth_session_is_quick_and_every_fourth_only_presses():
    for found in PLANS:
        assert (found.hz == 10.0) == (found.seed % 4 == 1)
        presses = any(TRAITS[u.workload].presses for u in found.units)
        assert presses == (found.seed % 4 == 3) == (not found.actions)


def test_everything_comes_up():
    assert {u.workload for p in PLANS for u in p.units} == {*TRAITS}
    assert {a.kind for p in PLANS for a in p.actions} == {*GROUND.kinds, "thaw"}
    assert {a.kind for a in plan(4, GUEST).actions} == {"freeze"}


def test_a_weight_is_changed_where_it_matters():
    for found in PLANS:
        hungry = {u.name for u in found.units if TRAITS[u.workload].hungry}
        weighed = [a for a in found.actions if a.kind == "cpu.weight"]
        assert all(a.unit in hungry or not hungry for a in weighed)
        assert all(1 <= a.value <= 10000 for a in weighed)
