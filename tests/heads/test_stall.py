"""Which answer about memory is told, how its cause reads, and what never alarms."""

import math

import numpy as np
import pytest

from jepad.heads.risk import Limits, assess
from jepad.heads.stall import Ahead, memory
from jepad.heads.stall_past import Past
from jepad.heads.stall_weights import Weights
from jepad.records import GAP, Window
from jepad.sources.naming import named

GIB = 1024.0 * 1024.0  # in KiB
T = np.arange(60.0)
AHEAD = Ahead(60.0, 0.0)


def window(columns):
    columns = {"mem.MemTotal": 10 * GIB, **columns}
    values = np.stack([np.broadcast_to(v, 60).astype(float) for v in columns.values()], axis=1)
    t_ns = np.arange(60, dtype=np.int64) * 10**9
    return Window(tuple(map(named, columns)), t_ns, values, np.zeros(60, np.uint32), 59)


def told(columns, watermark_kib=0.0):
    risks = assess(window(columns), None, Limits(watermark_kib=watermark_kib))
    return next(r for r in risks if r.domain == "memory")


HOG = {  # .6 GiB left, .05 GiB/s taken, of 6 GiB that could be had
    "mem.MemFree": (0.6 + 0.05 * (59 - T)) * GIB,
    "mem.MemAvailable": (6 + 0.05 * (59 - T)) * GIB,
    "mem.AnonPages": (1 + 0.05 * T) * GIB,
}


def test_free_memory_that_programs_use_up_is_told_before_anything_stalls():
    risk = told(HOG)
    assert risk.probability > 0.7
    assert risk.eta_s == pytest.approx(8.0, abs=0.1)  # .4 GiB to the floor
    assert "MemFree falls by 51.2 MiB/s, 8 s to its floor" in risk.cause
    assert risk.evidence["mem.MemFree per s"] == pytest.approx(-0.05 * GIB)


def test_the_same_fall_into_caches_is_no_alarm():
    files = HOG | {"mem.MemAvailable": 6 * GIB, "mem.AnonPages": GIB}
    assert told(files).probability < 0.4


def test_a_machine_full_of_caches_that_runs_calmly_is_no_alarm():
    rng = np.random.default_rng(0)
    scanned = 3000.0 * T  # 12 MB/s of clean caches given back
    for _ in range(50):
        full = {
            "mem.MemFree": 0.15 * GIB + rng.normal(0, 0.01 * GIB, 60),
            "mem.MemAvailable": 7 * GIB + rng.normal(0, 0.01 * GIB, 60),
            "mem.AnonPages": 2 * GIB + rng.normal(0, 0.01 * GIB, 60),
            "vm.pgscan_kswapd": scanned,
            "vm.workingset_refault_file": 100.0 * T,
            "psi.memory.some.total": 0.0,
        }
        assert told(full).probability < 0.4


def test_tasks_that_wait_one_percent_of_the_time_are_enough():
    free = {"mem.MemFree": 5 * GIB}
    assert told(free | {"psi.memory.some.total": 1.2e4 * T}).probability > 0.7
    assert told(free | {"psi.memory.some.total": 4e3 * T}).probability < 0.4


def test_the_cgroup_that_grows_is_named():
    grows = {"cgroup./user.slice/app.scope.memory_current": 0.05 * GIB * 1024 * T}
    risk = told(HOG | grows)
    assert risk.unit == "/user.slice/app.scope"
    assert "app.scope grows by 51.2 MiB/s" in risk.cause


def test_where_none_grows_the_cgroup_that_waits_is_named():
    waits = {
        "cgroup./a.memory_current": 1e9,
        "cgroup./a.memory_pressure": 2e4 * T,
        "cgroup./b.memory_pressure": 3e5 * T,
    }
    risk = told({"mem.MemFree": 5 * GIB, **waits})
    assert risk.unit == "/b"
    assert "/b waits 30% of the time" in risk.cause


def test_a_stall_that_is_there_still_names_its_signs():
    risk = told(HOG | {"psi.memory.some.total": 4e5 * T})
    assert (risk.probability, risk.eta_s) == (1.0, 0.0)
    assert "tasks stalled on memory 40%" in risk.cause
    assert "MemFree" in risk.cause
    assert "psi.memory.some.total" in risk.evidence


def test_the_signs_that_weigh_most_are_named_first():
    only = Weights(0.0, {"free_low": 1.0, "taken_10": 2.0})
    risk = memory(Past(window(HOG)), None, AHEAD, only)
    assert next(iter(risk.evidence)) == "mem.MemFree per s"
    silent = memory(Past(window({"mem.MemFree": 9 * GIB})), None, AHEAD, only)
    assert silent.cause == "no sign of a shortage"
    assert silent.probability == 0.5


def test_nothing_is_known_of_a_machine_without_memory_series():
    assert memory(Past(window({"mem.MemTotal": np.nan})), None, AHEAD) is None
    assert memory(Past(window({})), None, AHEAD) is None


@pytest.mark.parametrize("damage", [np.nan, np.inf, -np.inf, 1e18, -1e18, 1e300, 0.0])
def test_whatever_is_read_the_risk_is_a_probability_with_words(damage):
    columns = HOG | {"psi.memory.some.total": 1e3 * T, "vm.pgscan_direct": T, "mem.SwapFree": T}
    for part in (slice(None), slice(-1, None), slice(None, None, 2)):
        broken = window(columns)
        broken.values[part] = damage
        for risk in assess(broken, None, Limits()):
            assert 0.0 <= risk.probability <= 1.0
            assert not math.isnan(risk.eta_s)
            assert "nan" not in risk.cause
            assert all(math.isfinite(v) for v in risk.evidence.values())


def test_a_clock_that_steps_and_rows_that_repeat_break_nothing():
    rng = np.random.default_rng(1)
    for _ in range(50):
        seen = window(HOG)
        seen.t_ns[:] = np.cumsum(rng.choice([-(10**18), 0, 1, 10**9, 10**15], 60))
        seen.flags[rng.integers(60)] = GAP
        for risk in assess(seen, None, Limits()):
            assert 0.0 <= risk.probability <= 1.0
            assert not math.isnan(risk.eta_s)
