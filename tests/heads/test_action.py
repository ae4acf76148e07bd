"""What may be asked is asked, everything else is refused in words; guesses are sane and finite."""

import math

import numpy as np
import pytest

from jepad.errors import NotFound, SettingError
from jepad.heads.action import Action, check, condition, groups, role, units
from jepad.heads.guesses import FREED, HELD, KINDS, LIMIT, RETURNS, SHARED, STOPS
from jepad.heads.prepare import ACTION, CONTEXT, EFFECTS, prepare

MIB = 2**20
SERIES = (
    "cpu.busy",
    "cpu.idle",
    "mem.MemFree",
    "mem.Cached",
    "psi.memory.some.total",
    "cgroup.a.slice/x.service.memory_current",
    "cgroup.a.slice/x.service.cpu_usage",
    "cgroup.a.slice/x.service.memory_pressure",
    "cgroup.b.memory_current",
    "cgroup.b.cpu_usage",
    "temp.cpu.die",
)
X = "a.slice/x.service"
BUSY, IDLE, FREE, CACHED, PSI, MEMORY, CPU, PRESSURE, B_MEMORY, B_CPU, TEMP = range(len(SERIES))


def window():
    """x: 300 MiB growing by 1 MiB a step, half a CPU; b: 100 MiB, a quarter; 2 CPUs."""
    t = np.arange(CONTEXT, dtype=float)
    held = (300 - CONTEXT + 1 + t) * MIB
    rows = [75, 125, 2e6 - held / 1024, 5e5, 2e4, held, 5e5, 1e5, 100 * MIB, 2.5e5, 55]
    return np.stack([np.broadcast_to(r, CONTEXT) for r in rows])[None]


def guess(action, values=None):
    """In the series' own units: [C, H, E]."""
    values = window() if values is None else values
    now = prepare(values, np.ones(1))
    fed = condition(now, SERIES, values, action)
    return fed["effects"][0] * units(now, SERIES)[0, ..., None]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Action("kill", X), "unknown"),
        (Action("freeze", X, 1.0), "takes none"),
        (Action("cpu.weight", X, 0.0), "from 1 to 10000"),
        (Action("cpu.weight", X, 10001.0), "from 1 to 10000"),
        (Action("memory.high", X, -1.0), "from 0"),
        (Action("memory.low", X, math.nan), "finite"),
        (Action("memory.low", X, math.inf), "finite"),
        (Action("drop_caches", X), "name no unit"),
    ],
)
def test_what_makes_no_sense_is_refused(action, words):
    with pytest.raises(SettingError, match=words):
        check(action, SERIES)


def test_a_group_nobody_sees_is_not_found_and_those_seen_are_named():
    with pytest.raises(NotFound, match=r"known: a\.slice/x\.service, b"):
        check(Action("freeze", "c"), SERIES)
    assert groups(SERIES) == [X, "b"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_makes_sense_is_let_through(kind):
    value = 100.0 if kind.startswith(("memory.", "cpu.")) else 0.0
    check(Action(kind, "" if kind == "drop_caches" else X, value), SERIES)


def test_roles_by_name():
    action = Action("freeze", X)
    assert role(SERIES[CPU], action) == "its cpu"
    assert role("cgroup.a.slice.cpu_usage", action) == "its cpu"  # around its target
    assert role(f"cgroup.{X}/child.cpu_usage", action) == "its cpu"
    assert role("cgroup.a.slice/x.cpu_usage", action) == "another group"
    assert role("mem.Dirty", action) == "host memory"
    assert role("psi.io.full.total", action) == "host pressure"
    assert role("net.eth0.rxB", action) == "other"


def test_frozen_it_uses_nothing_and_holds_what_it_has():
    told = guess(Action("freeze", X))
    np.testing.assert_allclose(told[CPU, :, STOPS], -5e5, rtol=1e-5)
    np.testing.assert_allclose(told[BUSY, :, STOPS], -50, rtol=1e-5)
    np.testing.assert_allclose(told[IDLE, :, STOPS], 50, rtol=1e-5)
    np.testing.assert_allclose(told[MEMORY, 3, HELD], -64 * MIB, rtol=1e-3)
    np.testing.assert_allclose(told[FREE, 3, HELD], 64 * 1024, rtol=1e-3)
    assert not told[B_CPU].any()  # there was time enough for both
    values = window()
    values[0, BUSY], values[0, IDLE] = 200, 0
    told = guess(Action("freeze", X), values)
    assert not told[BUSY].any()
    np.testing.assert_allclose(told[B_CPU, :, SHARED], 5e5, rtol=1e-5)


def test_a_limit_is_gone_to():
    told = guess(Action("memory.high", X, 200.0 * MIB))
    np.testing.assert_allclose(told[MEMORY, 0, LIMIT], -99 * MIB, rtol=0.02)
    np.testing.assert_allclose(told[FREE, 3, LIMIT], 164 * 1024, rtol=0.02)
    assert (told[[PSI, PRESSURE], :, LIMIT] > 5e4).all()
    assert not told[[MEMORY, FREE], :, FREED].any()  # all of it is page cache
    far = guess(Action("memory.high", X, 10.0**12))
    assert not far[:, :, LIMIT].any()


def test_weights_share_what_both_want():
    values = window()
    assert not guess(Action("cpu.weight", X, 25.0), values).any()  # there is enough
    values[0, BUSY], values[0, IDLE] = 200, 0
    less = guess(Action("cpu.weight", X, 25.0), values)
    np.testing.assert_allclose(less[CPU, :, SHARED], 7.5e5 * 0.2 - 5e5, rtol=1e-5)
    np.testing.assert_allclose(less[B_CPU, :, SHARED], 5e5 - 7.5e5 * 0.2, rtol=1e-5)
    more = guess(Action("cpu.weight", X, 1000.0), values)
    assert (more[CPU, :, SHARED] > 0).all()


def test_a_thaw_brings_back_what_ran_before():
    values = window()
    values[0, CPU, -20:] = 0
    told = guess(Action("thaw", X), values)
    assert (told[CPU, 0, RETURNS], told[CPU, 1, RETURNS]) == pytest.approx((5e5, 5e5))
    assert told[BUSY, 0, RETURNS] == pytest.approx(50)


def test_dropped_caches_are_free_memory():
    told = guess(Action("drop_caches", ""))
    np.testing.assert_allclose(told[FREE, :, FREED], 5e5, rtol=1e-5)
    np.testing.assert_allclose(told[CACHED, :, FREED], -5e5, rtol=1e-5)
    assert (told[MEMORY, :, FREED] < 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_finite_whatever_was_seen(kind):
    action = Action(kind, "" if kind == "drop_caches" else X, 100.0)
    draw = np.random.default_rng(0)
    odd = [
        window() * np.nan,
        window() * 0,
        np.where(draw.random(window().shape) < 0.5, np.nan, window()),
        window() * 1e200,
        window()[..., -3:],
        np.where(draw.random(window().shape) < 0.1, np.inf, window()),
    ]
    for values in odd:
        now = prepare(values, np.ones(1))
        fed = condition(now, SERIES, values, action)
        assert fed["action"].shape == (1, len(SERIES), ACTION)
        assert fed["effects"].shape == (1, len(SERIES), 4, EFFECTS)
        assert all(np.isfinite(a).all() and a.dtype == np.float32 for a in fed.values())
        assert np.abs(fed["effects"]).max() <= 1e4
        assert fed["action"].any(-1).all()
        assert (units(now, SERIES) > 0).all()


def test_a_group_that_is_not_among_the_series_moves_nothing_but_is_no_error():
    values = window()
    now = prepare(values, np.ones(1))
    fed = condition(now, SERIES, values, Action("freeze", "nobody"))
    assert not fed["effects"][0, [BUSY, FREE, B_CPU]].any()
