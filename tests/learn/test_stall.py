"""Stalls found in made traces, weights learned from them, and traces that teach nothing."""

import json

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.heads.stall_signs import SIGNS
from jepad.heads.stall_weights import parse
from jepad.learn import stall
from jepad.learn.stall_onsets import Windows, mark, recordings, seconds
from jepad.learn.stall_tally import Told, held, tally
from jepad.records import GAP
from jepad.sources.naming import named
from jepad.sources.record import TraceWriter
from jepad.sources.traces import Trace

MIB = 1024.0  # in KiB


def trace(stalled, hz=1.0, **columns):
    """Of 10 GiB; `stalled` is the share of each second."""
    n = round(len(stalled) * hz)
    t_s = np.arange(n) / hz
    psi = np.interp(t_s, np.arange(1, len(stalled) + 1), np.cumsum(stalled)) * 1e6
    table = {
        "psi.memory.some.total": psi,
        "mem.MemTotal": np.full(n, 10_000 * MIB),
        "mem.MemFree": np.full(n, 5_000 * MIB),
    } | columns
    series = tuple(map(named, table))
    return Trace(series, t_s, np.stack([*table.values()], axis=1), 1 / hz, "made", "made")


def shares(n, *stalls):
    out = np.zeros(n)
    for at, length in stalls:
        out[at : at + length] = 0.3
    return out


def leaky(seed):
    """Half an hour in which programs use MemFree up four times, and caches twice."""
    rng = np.random.default_rng(seed)
    n, stalled = 1800, np.zeros(1800)
    free, available = np.full(n, 5_000.0), np.full(n, 6_000.0)
    for k, at in enumerate(range(200, 1700, 250)):
        free[at : at + 60] = np.linspace(5_000, 150, 60)
        if k % 3 != 2:
            available[at : at + 60] -= np.linspace(0, 4_850, 60)
            stalled[at + 55 : at + 62] = 0.4
    noise = rng.normal(0, 5, n)
    return trace(
        stalled, **{"mem.MemFree": (free + noise) * MIB, "mem.MemAvailable": available * MIB}
    )


def write(directory, name, made):
    path = directory / f"{name}.csv.gz"
    writer = TraceWriter(str(path), made.series)
    for t_s, values in zip(made.t_s, made.values, strict=True):
        writer.append(float(t_s), values)
    writer.close()


def test_stalled_seconds_in_a_row_are_one_stall():
    found = mark(trace(shares(300, (100, 5), (110, 1), (250, 2))), "x")
    assert found.onsets.tolist() == [101, 111, 251]
    assert found.ends.tolist() == [105, 111, 252]
    assert found.first().tolist() == [True, False, True]


def test_the_same_stalls_at_ten_hertz():
    found = mark(trace(shares(300, (100, 5), (250, 2)), hz=10), "x")
    assert found.onsets == pytest.approx([101, 251], abs=1.0)
    assert len(seconds(found.trace)) == 300


def test_less_than_a_twentieth_is_no_stall():
    assert len(mark(trace(np.full(100, 0.04)), "x").onsets) == 0


def test_calm_time_keeps_away_from_stalls():
    found = mark(trace(shares(600, (300, 5))), "x")
    t_s = np.arange(600.0)
    calm = found.calm(t_s)
    assert (calm.argmin(), 600 - calm[::-1].argmin()) == (241, 366)
    assert found.hours() * 3600 == pytest.approx(calm.sum(), abs=2)
    assert found.until(np.array([0.0, 300.0, 301.0])).tolist() == [301.0, 1.0, np.inf]


def test_windows_are_those_of_a_daemon():
    made = trace(np.zeros(200), hz=10)
    window = Windows(made).at(1999)
    assert window.values.shape[0] == 640
    assert window.last_n == 1999
    assert not window.flags.any()
    assert Windows(made).at(0).flags[0] == GAP


def test_an_alarm_comes_and_goes_as_alerts_do():
    score = np.r_[np.zeros(5), np.ones(10), np.full(5, 0.5), np.zeros(10)]
    on = held(np.arange(30.0), score, (0.7, 0.4), 3.0)
    assert np.flatnonzero(on).tolist() == list(range(8, 23))


def test_leads_and_false_alarms_are_counted():
    made = mark(trace(shares(1000, (300, 5), (600, 5))), "x")
    on = np.zeros(1000, bool)
    on[290:310] = True  # in time for the first, and over before the second
    on[700:860] = True  # for nothing: 160 s, three times 60
    told = tally([Told(made, np.arange(1000.0), on)])
    assert told.leads.tolist() == [11.0, 0.0]
    assert (told.recall(), told.lead(), told.false) == (0.5, 11.0, 3)
    assert told.alarms_h() == pytest.approx(3 / made.hours())


def test_an_alarm_with_the_stall_itself_is_no_warning():
    made = mark(trace(shares(400, (300, 5))), "x")
    on = np.arange(400) >= 301
    assert tally([Told(made, np.arange(400.0), on)]).leads.tolist() == [0.0]


def test_what_programs_take_is_learned_to_matter_and_caches_not(tmp_path):
    for seed in range(2):
        write(tmp_path, f"leaky{seed}", leaky(seed))
    out = tmp_path / "stall.json"
    assert stall.main(["--data", str(tmp_path), "--out", str(out)]) == 0
    weights = parse(out.read_text())
    assert set(weights.of) <= set(SIGNS)
    assert weights.of["taken_10"] > 0
    fitted = json.loads(out.read_text())["fitted"]
    assert fitted["unseen"]["leaky0"]["warned"] >= 3
    assert fitted["unseen"]["leaky0"]["false_per_hour"] <= 10
    again = tmp_path / "again.json"
    stall.main(["--data", str(tmp_path), "--out", str(again)])
    assert again.read_bytes() == out.read_bytes()


def test_a_half_keeps_the_later_time_for_judging():
    early = stall.first_half(mark(trace(shares(600, (100, 5), (500, 5))), "x"))
    assert early.onsets.tolist() == [101]
    assert early.group == "x, first half"


def test_traces_without_stalls_teach_nothing(tmp_path, capsys):
    write(tmp_path, "calm", trace(np.zeros(300)))
    assert stall.main(["--data", str(tmp_path), "--out", str(tmp_path / "s.json")]) == 2
    assert "nothing to learn" in capsys.readouterr().err
    with pytest.raises(SettingError):
        stall.learn([str(tmp_path)])


def test_what_cant_be_judged_is_said(tmp_path):
    write(tmp_path, "free", trace(np.zeros(100)))
    bare = trace(np.zeros(100))
    write(tmp_path, "bare", Trace(bare.series[1:], bare.t_s, bare.values[:, 1:], 1.0))
    write(tmp_path, "slow", Trace(bare.series, bare.t_s * 60, bare.values, 60.0))
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    found, skipped = recordings([str(tmp_path)])
    assert [one.name for one in found] == ["free"]
    assert any("bare: has no psi.memory.some.total" in why for why in skipped)
    assert any("slow: sampled every 60 s" in why for why in skipped)
    assert any("broken.npz" in why for why in skipped)
