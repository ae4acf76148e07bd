"""Each sign on made windows with known answers; neutral where there is nothing to read."""

import math

import numpy as np
import pytest

from jepad.heads.stall_past import Past
from jepad.heads.stall_signs import SIGNS, read_signs, scene
from jepad.records import Series, Window
from jepad.sources.naming import named

GIB = 1024.0 * 1024.0  # in KiB
T = np.arange(60.0)


def window(columns, hz=1.0):
    series = tuple(named(name) for name in columns)
    values = np.stack([np.broadcast_to(v, 60).astype(float) for v in columns.values()], axis=1)
    t_ns = np.round(T / hz * 1e9).astype(np.int64)
    return Window(series, t_ns, values, np.zeros(60, np.uint32), 59)


def signs(watermark_kib=0.0, /, **columns):
    """Of a machine with 10 GiB, so that 2 % are .2 GiB."""
    made = {name.replace("__", "."): values for name, values in columns.items()}
    seen = scene(Past(window({"mem.MemTotal": 10 * GIB, **made})), watermark_kib)
    return {name: sign.value for name, sign in read_signs(seen).items()}


def test_free_memory_near_its_floor():
    assert signs(mem__MemFree=3.2 * GIB)["free_low"] == pytest.approx(0.0, abs=1e-9)
    assert signs(mem__MemFree=0.8 * GIB)["free_low"] == pytest.approx(0.5)
    assert signs(mem__MemFree=0.1 * GIB)["free_low"] == 1.0
    assert signs(mem__MemFree=9 * GIB)["free_low"] == 0.0


def test_the_kernels_watermark_is_the_floor_where_it_is_higher():
    assert signs(0.4 * GIB, mem__MemFree=0.4 * GIB)["free_low"] == 1.0


def test_free_memory_that_runs_out():
    # 2.2 GiB, .1 GiB a second: 20 s to the floor of .2.
    falling = signs(mem__MemFree=(2.2 + 0.1 * (59 - T)) * GIB)
    assert falling["taken_10"] == pytest.approx(math.exp(-1))
    assert falling["taken_30"] == pytest.approx(math.exp(-20 / 30))


def test_a_fall_too_small_to_matter_counts_little():
    # At the floor already, and .2 % of it more in half a minute.
    drifting = signs(mem__MemFree=0.2 * GIB - T * 0.2 * GIB * 0.002 / 30)
    assert drifting["taken_10"] < 0.01
    assert signs(mem__MemFree=GIB + T)["taken_10"] == 0.0


def test_events_are_shares_of_all_memory():
    pages = 10 * GIB / 4
    assert signs(vm__pgscan_kswapd=T * pages * 0.1)["kswapd"] == pytest.approx(1.0)
    some = signs(vm__pgscan_kswapd=T * pages * 0.001)["kswapd"]
    assert some == pytest.approx(math.log1p(10) / math.log1p(1000))
    assert signs(vm__pgscan_kswapd=7.0)["kswapd"] == 0.0


def test_pressure_counts_from_its_first_microseconds():
    assert signs(psi__memory__some__total=T * 5e4)["psi"] == pytest.approx(1.0)
    assert 0.2 < signs(psi__memory__some__total=T * 5e2)["psi"] < 0.4
    assert signs(psi__memory__some__total=5e9)["psi"] == 0.0


def test_what_fills_with_caches_is_given_back():
    falls = (2.2 + 0.1 * (59 - T)) * GIB
    caches = signs(mem__MemFree=falls, mem__MemAvailable=6 * GIB)
    assert caches["taken_10"] == 0.0
    half = signs(mem__MemFree=falls, mem__AnonPages=0.05 * T * GIB, mem__MemAvailable=6 * GIB)
    assert half["taken_10"] == pytest.approx(0.5 * math.exp(-1))


def test_pressure_that_is_enough_alone():
    assert signs(psi__memory__some__total=T * 4e3)["waiting"] == 0.0
    assert signs(psi__memory__some__total=T * 7.5e3)["waiting"] == pytest.approx(0.5)
    assert signs(psi__memory__some__total=T * 1e4)["waiting"] == pytest.approx(1.0)


def test_the_worst_of_several_that_tell_the_same():
    both = signs(vm__compact_stall=T * 100, vm__allocstall_movable=T)
    assert both["reclaim"] == pytest.approx(1.0)
    assert signs(vm__allocstall_movable=T)["reclaim"] == pytest.approx(
        math.log1p(10) / math.log1p(1000)
    )


def test_pressure_says_more_where_memory_is_low():
    some = {"psi__memory__some__total": T * 5e4, "mem__MemFree": 0.8 * GIB}
    assert signs(**some)["low_psi"] == pytest.approx(0.5)


def test_every_sign_is_silent_where_its_series_is_missing():
    assert signs() == {}
    one = signs(mem__MemFree=GIB)
    assert set(one) <= {"free_low", "taken_10", "taken_30"}


def test_the_size_of_a_machine_that_does_not_tell_it():
    bare = Past(window({"mem.MemFree": 3 * GIB, "mem.Cached": 5 * GIB, "mem.AnonPages": 2 * GIB}))
    assert scene(bare, 0.0).total_kib == 10 * GIB
    assert scene(Past(window({"mem.Dirty": 1.0})), 0.0) is None


ALL = {
    "mem.MemFree": (5 - 0.05 * T) * GIB,
    "mem.MemAvailable": (6 - 0.05 * T) * GIB,
    "mem.AnonPages": 0.05 * T * GIB,
    "mem.Dirty": GIB,
    "mem.Writeback": T,
    "mem.SwapFree": GIB - T * 1000,
    **{f"vm.{name}": T * 100 for name in (
        "pgscan_kswapd", "pgscan_direct", "workingset_refault_file", "workingset_activate_file",
        "pswpout", "workingset_refault_anon", "allocstall_movable", "compact_stall", "pgmajfault",
    )},
    "psi.memory.some.total": T * 1000,
    "psi.io.some.total": T * 1000,
}  # fmt: skip


def test_one_second_and_a_tenth_tell_the_same():
    slow = read_signs(scene(Past(window({"mem.MemTotal": 10 * GIB, **ALL})), 0.0))
    fast = {k: np.interp(np.arange(600) / 10, T, np.broadcast_to(v, 60)) for k, v in ALL.items()}
    series = tuple(named(name) for name in ["mem.MemTotal", *fast])
    values = np.stack([np.full(600, 10 * GIB), *fast.values()], axis=1)
    t_ns = np.arange(600, dtype=np.int64) * 10**8
    past = Past(Window(series, t_ns, values, np.zeros(600, np.uint32), 599))
    quick = read_signs(scene(past, 0.0))
    assert set(slow) == set(quick) == set(SIGNS)
    for name, sign in slow.items():
        assert quick[name].value == pytest.approx(sign.value, abs=0.02), name


@pytest.mark.parametrize("damage", [np.nan, np.inf, -np.inf, 1e18, -1e18, 1e300, 0.0, -5.0])
@pytest.mark.parametrize("where", ["all", "last", "some"])
def test_whatever_is_read_signs_stay_between_zero_and_one(damage, where):
    part = {"all": slice(None), "last": slice(-1, None), "some": slice(None, None, 3)}[where]
    columns = {"mem.MemTotal": np.full(60, 10 * GIB)} | {
        name: np.array(np.broadcast_to(v, 60), float) for name, v in ALL.items()
    }
    for values in columns.values():
        values[part] = damage
    with np.errstate(all="raise", under="ignore"):
        seen = scene(Past(window(columns)), 0.0)
    for sign in read_signs(seen).values() if seen else ():
        assert 0.0 <= sign.value <= 1.0
        assert math.isfinite(sign.reading)
        assert "nan" not in sign.words
        assert isinstance(sign.series, str)


def test_a_window_of_one_row_says_little_and_breaks_nothing():
    columns = {name: np.broadcast_to(v, 60)[:1] for name, v in ALL.items()}
    series = tuple(Series(n, "", "gauge") for n in columns)
    values = np.stack(list(columns.values()), axis=1)
    past = Past(Window(series, np.zeros(1, np.int64), values, np.zeros(1, np.uint32), 0))
    assert all(0 <= s.value <= 1 for s in read_signs(scene(past, 0.0)).values())
