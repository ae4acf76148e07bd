"""Each warner's rule on made machines that are just within it and just beyond."""

import numpy as np
import pytest

from bench.rules import RULES
from jepad.sources.naming import named
from jepad.sources.traces import Trace

MIB = 1024.0
T = np.arange(120.0)
ROWS = np.arange(120)


def machine(**columns):
    """10 GiB, all of them free, unless said otherwise."""
    made = {name.replace("__", "."): values for name, values in columns.items()}
    table = {"mem.MemTotal": 10_000 * MIB, "mem.MemFree": 9_000 * MIB} | made
    values = np.stack([np.broadcast_to(v, 120).astype(float) for v in table.values()], axis=1)
    return Trace(tuple(map(named, table)), T, values, 1.0)


def alarms(name, trace):
    rule = next(rule for rule in RULES if rule.name == name)
    return rule.score(trace, ROWS) >= rule.limit


def first(name, trace):
    return int(np.argmax(alarms(name, trace))) if alarms(name, trace).any() else None


def test_time_to_watermark():
    # 200 MiB are the floor; 30 s before it 1,700 are left.
    assert first(RULES[0].name, machine(mem__MemFree=(6_200 - 50 * T) * MIB)) == 90
    assert not alarms(RULES[0].name, machine(mem__MemFree=9_000 * MIB + T)).any()


def test_memory_that_is_low():
    falling = machine(mem__MemFree=(300 - T) * MIB)
    assert first("MemFree low", falling) == 100


def test_pressure_of_a_second():
    stalls = np.cumsum(np.where(T == 60, 0.2e6, 0.1e6))
    assert np.flatnonzero(alarms("PSI threshold", machine(psi__memory__some__total=stalls))) == [60]


def test_what_is_available_runs_out():
    assert first("MemAvailable rate", machine(mem__MemAvailable=(6_200 - 50 * T) * MIB)) == 60


@pytest.mark.parametrize(
    ("available", "swap_free", "told"),
    [(900, 0, True), (1_100, 0, False), (900, 50, True), (900, 500, False), (5_000, 50, False)],
)
def test_earlyoom_wants_both_memory_and_swap_low(available, swap_free, told):
    swap = np.where(T < 1, 1_000.0, swap_free) if swap_free else 0.0
    seen = machine(
        mem__MemAvailable=available * MIB,
        mem__AnonPages=(10_000 - available) * MIB,
        mem__SwapFree=swap * MIB,
    )
    assert alarms("earlyoom", seen)[1:].all() == told


def test_oomd_waits_for_half_a_minute_of_full_pressure():
    full = np.cumsum(np.where(T >= 40, 0.7e6, 0.0))
    found = first("systemd-oomd", machine(psi__memory__full__total=full))
    assert 70 <= found <= 80  # 30 s after its 10 s mean passed 60 %
    assert not alarms(
        "systemd-oomd", machine(psi__memory__full__total=np.cumsum(0.5e6 + 0 * T))
    ).any()


def test_oomd_acts_when_memory_and_swap_are_used_up():
    swap = np.where(T < 60, 1_000.0, 50.0) * MIB
    full = machine(mem__MemAvailable=500 * MIB, mem__SwapFree=swap)
    assert first("systemd-oomd", full) == 60
    assert not alarms("systemd-oomd", machine(mem__MemAvailable=500 * MIB)).any()


def test_rules_without_their_series_never_alarm():
    bare = machine(mem__MemFree=9_000 * MIB)
    assert not any(np.asarray(alarms(rule.name, bare)).any() for rule in RULES)
