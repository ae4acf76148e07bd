"""Risks from made windows with known answers, and from a recorded memory stall."""

import math

import numpy as np
import pytest

from jepad.heads.risk import Grower, Limits, assess, low_watermark_kib
from jepad.records import GAP, Forecast, Series, Window

GIB = 1024.0 * 1024.0  # in KiB


def window(columns, n=60):
    """A 1 Hz window from name -> values."""
    series = tuple(
        Series(k, "us" if k.startswith("psi") else "KiB", "counter" if "total" in k else "gauge")
        for k in columns
    )
    values = np.stack([np.broadcast_to(v, n).astype(float) for v in columns.values()], axis=1)
    t_ns = np.arange(n, dtype=np.int64) * 1_000_000_000
    return Window(series, t_ns, values, np.zeros(n, np.uint32), n - 1)


def memory(available, **more):
    return window({"mem.MemTotal": 16 * GIB, "mem.MemAvailable": available, **more})


def of(risks, domain):
    return next(r for r in risks if r.domain == domain)


def test_a_steady_leak_is_told_with_its_eta_and_unit():
    # 4 GiB left after a minute, 0.1 GiB/s going: the 2 % floor (.32 GiB) is 36.8 s away.
    t = np.arange(60)
    leak = memory(
        (4 + 0.1 * (59 - t)) * GIB,
        **{
            "cgroup./user.slice.memory_current": t * 0.1 * GIB * 1024,
            "cgroup./user.slice/app.scope.memory_current": t * 0.1 * GIB * 1024,
            "cgroup./system.slice.memory_current": np.full(60, 1e9),
        },
    )
    risk = of(assess(leak, None, Limits()), "memory")
    assert risk.probability > 0.99
    assert risk.eta_s == pytest.approx(36.8, abs=0.1)
    assert risk.unit == "/user.slice/app.scope"
    assert "MiB/s" in risk.cause
    assert "mem.MemAvailable" in risk.evidence


def test_steady_memory_is_no_risk():
    rng = np.random.default_rng(0)
    calm = memory(8 * GIB + rng.normal(0, 20 * 1024, 60))
    assert of(assess(calm, None, Limits()), "memory").probability < 0.01


def test_a_short_burst_is_not_taken_for_a_leak():
    burst = np.full(60, 8.0)
    burst[-4:] -= [0.2, 0.5, 0.8, 1.1]
    assert of(assess(memory(burst * GIB), None, Limits()), "memory").probability < 0.7


def test_free_memory_counts_once_reclaim_is_strained():
    t = np.arange(60)
    cache = {"mem.MemFree": (2.3 - 0.03 * t) * GIB}
    calm = memory(np.full(60, 8 * GIB), **cache)
    strained = memory(np.full(60, 8 * GIB), **cache, **{"vm.pgscan_direct": t})
    assert of(assess(calm, None, Limits()), "memory").probability < 0.3
    assert of(assess(strained, None, Limits()), "memory").probability > 0.9


def test_a_stall_that_is_there_is_certain():
    t = np.arange(60)
    stalled = window(
        {"psi.io.some.total": t * 4e5, "disk.vda.iot": t * 100.0, "disk.sdb.iot": t * 900.0}
    )
    risk = of(assess(stalled, None, Limits()), "io")
    assert (risk.probability, risk.eta_s, risk.unit) == (1.0, 0.0, "sdb")
    assert "sdb was busy 90%" in risk.cause


def test_the_task_that_grows_is_named_with_its_cgroup():
    grower = Grower("firefox[4242]", "/user.slice/firefox.scope", 300 * 2**20)
    risk = of(assess(memory(8 * GIB), None, Limits(), grower), "memory")
    assert risk.unit == "/user.slice/firefox.scope"
    assert "firefox[4242] grows by 300.0 MiB/s" in risk.cause


def test_a_forecast_stall_is_told_before_it_is_there():
    calm = window({"psi.memory.some.total": np.zeros(60)})
    quantiles = np.array([[[0, 0, 1e5], [0, 3e5, 5e5]]], np.float32)
    forecast = Forecast(
        source_n=59,
        t_ns=0,
        series=(Series("psi.memory.some.total", "us/s", "gauge"),),
        horizons_s=(4.0, 16.0),
        quantiles=quantiles,
        p_rise=np.zeros((1, 2), np.float32),
        weight=np.ones((1, 2), np.float32),
        surprise=math.nan,
        model_digest="x",
    )
    risk = of(assess(calm, forecast, Limits()), "memory")
    assert 0.7 < risk.probability < 0.8
    assert risk.eta_s == 16.0


def test_full_caches_and_an_old_reclaim_are_no_alarm():
    rng = np.random.default_rng(1)
    for _ in range(50):
        free = 800 * 1024 + rng.normal(0, 20 * 1024, 60).cumsum()
        once = np.where(np.arange(60) > 30, 32.0, 0.0)
        calm = memory(12 * GIB, **{"mem.MemFree": free, "vm.pgscan_direct": once})
        assert of(assess(calm, None, Limits()), "memory").probability < 0.7


def test_nothing_is_read_across_a_gap():
    stalls = np.r_[np.zeros(30), 5e6 + np.arange(30) * 100.0]
    before = window({"psi.io.some.total": stalls})
    before.flags[30] = GAP
    assert of(assess(before, None, Limits()), "io").probability < 0.5
    before.flags[30] = 0
    assert of(assess(before, None, Limits()), "io").probability < 0.5  # 30 s ago, not lately


def test_slow_samples_are_judged_by_their_time():
    t = np.arange(40)
    leak = window({"mem.MemTotal": 16 * GIB, "mem.MemAvailable": (4.5 - 0.1 * t) * GIB}, n=40)
    apart = Window(leak.series, leak.t_ns * 5, leak.values, leak.flags, leak.last_n)
    assert of(assess(apart, None, Limits()), "memory").probability > 0.9


def test_a_disk_without_readings_hides_no_busy_one():
    t = np.arange(60)
    stalled = window(
        {"psi.io.some.total": t * 4e5, "disk.sda.iot": np.nan, "disk.sdb.iot": t * 900.0}
    )
    assert of(assess(stalled, None, Limits()), "io").unit == "sdb"


def test_missing_and_broken_columns_are_left_out():
    assert assess(window({"mem.MemTotal": np.nan}), None, Limits()) == []
    shrunk = window({"psi.io.some.total": np.arange(60)[::-1].astype(float)})
    assert assess(shrunk, None, Limits()) == []


def test_watermarks_are_summed_over_zones():
    text = "Node 0, zone DMA\n  pages free 10\n        min      5\n        low      7\n"
    text += "Node 0, zone Normal\n        low      100\n        high     120\n"
    assert low_watermark_kib(text) == 428
