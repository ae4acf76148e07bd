"""Series come and go, engines end: what was learned of a series stays with its name."""

from pathlib import Path

import numpy as np
import pytest

from jepad.engine import onnx
from jepad.engine.keep import Keep
from jepad.engine.learned import Learned
from jepad.engine.publisher import Publisher
from jepad.heads.since import FEWEST
from jepad.models import store
from jepad.outlook import Outlook
from jepad.sources.replay import read_trace

from .rig import MIDNIGHT_S, MODEL, START_NS, Played, Rig, held, quantiles_of, row

TRACE = Path(__file__).parents[1] / "fixtures" / "traces" / "memory_stall_1hz.csv.gz"
RNG = np.random.default_rng(3)
NOISE = {name: 100 + RNG.normal(size=900).cumsum() for name in ("a", "b", "c", "d")}


@pytest.fixture(scope="module")
def model():
    files = store.load()
    return onnx.load(files.onnx_path, files.digest)


@pytest.fixture(scope="module")
def trace():
    """Real gauges under other names, as of sensors nobody knows."""
    read = read_trace(str(TRACE), None)
    names = [s.name for s in read.series]
    wanted = ("mem.MemFree", "load1", "mem.Dirty", "procs_running", "mem.AnonPages")
    return {f"x.{n}": read.values[:, names.index(n)] for n in wanted}


@pytest.fixture
def rig(prefix):
    made = []

    def build(played, backend=None, learned=None):
        made.append(Rig(prefix, played, backend, learned))
        return made[-1]

    yield build
    for one in made:
        one.close()


def restarted(made, path):
    """Another engine on the same stream, with what the first one saved."""
    keep = Keep(str(path))
    made.forecaster.save(keep)
    keep.close()
    made.learned.save_days(keep)
    keep.close()
    learned = Learned(MODEL, lambda: made.wall_offset_ns)
    learned.load(keep)
    again = Rig.__new__(Rig)
    again.__dict__ = made.__dict__ | {"learned": learned, "stream": None, "forecaster": None}
    return again


def test_an_unknown_sensor_is_forecast_from_its_first_minutes(rig, model, trace):
    late = "x.mem.MemFree"
    played = Played(trace, [n for n in trace if n != late])
    machine = rig(played, model)
    machine.ticks(200)
    played.plugged.append(late)
    made = machine.ticks(200)
    for t, one in enumerate(made):
        quantiles, weight = row(one, late)
        spoken = np.isfinite(quantiles).all(axis=1)
        assert (spoken == (t + 1 >= FEWEST)).all(), t
        assert not weight.any() if t < 15 else True
        assert (np.diff(quantiles[spoken], axis=1) >= 0).all()
    assert row(made[20], late)[1][:4].any()
    column = trace[late][200:400]
    for h in (1, 4, 16):
        share, count = held(made, column, late, h)
        assert share > 0.6, (h, share, count)
    # Its first minute is no calmer than what is known: 64 s ahead of 10 s seen is a guess.
    young, old = (np.diff(row(made[t], late)[0][3, [0, 2]])[0] for t in (9, 150))
    assert young > 0.2 * old


def test_a_hot_plug_keeps_what_was_learned_of_the_others(rig, model):
    played = Played(NOISE, ["a", "b", "c"])
    machine = rig(played, model)
    before = machine.ticks(150)[-1]
    forecaster = machine.forecaster
    played.plugged = ["d", "c", "a"]  # b goes, d comes, c and a change places
    after = machine.ticks(2)[0]
    assert machine.forecaster is forecaster
    assert [s.name for s in after.forecast.series] == ["d", "c", "a"]
    assert after.forecast.source_n == 150
    assert after.embedding is not None
    assert len(forecaster.recent.rows) == 152
    for name in ("a", "c"):
        quantiles, weight = row(after, name)
        assert np.isfinite(quantiles).all()
        # Errors learned in 150 steps move little with one more.
        np.testing.assert_allclose(weight[:4], row(before, name)[1][:4], atol=0.15)
        assert weight[0] != 0.5
    assert np.isnan(row(after, "d")[0]).all()
    mean = forecaster.fast._running.history().mean[0]
    assert mean[2] == pytest.approx(NOISE["a"][:152].mean(), rel=0.01)
    assert np.isnan(mean[0])
    widths = forecaster.fast._width.log
    assert widths[1:].any(axis=1).all()
    assert not widths[0].any()
    played.plugged = ["a", "b", "c"]
    machine.tick()
    mean = forecaster.fast._running.history().mean[0]
    assert mean[1] == pytest.approx(NOISE["b"][:150].mean(), rel=0.01)  # it was remembered


def test_a_hot_plug_is_as_if_nothing_had_been_for_the_others(rig, model, prefix):
    """The very same numbers as without it, for a channel is judged by itself in the baseline."""
    still = rig(Played({n: NOISE[n] for n in "abc"}))
    quiet = still.ticks(220)
    still.close()
    played = Played(NOISE, ["a", "b", "c"])
    machine = rig(played)
    moved = machine.ticks(160)
    played.plugged = ["d", "a", "b", "c"]
    moved += machine.ticks(60)
    for t in (100, 160, 161, 219):
        for name in "abc":
            np.testing.assert_allclose(row(moved[t], name)[0], row(quiet[t], name)[0], rtol=1e-6)


def test_who_reads_the_forecast_notices_nothing_of_a_hot_plug(rig, prefix):
    played = Played(NOISE, ["a", "b"])
    machine, publisher, outlook = rig(played), Publisher(prefix), Outlook(prefix, ["*"], 1.0)
    for t in range(40):
        if t in (20, 30):
            played.plugged = ["c", "b", "a"] if t == 20 else ["a", "c"]
        publisher.forecast(machine.tick().forecast, 0)
        forecast = outlook.update(machine.telemetry.window(64))
        if forecast:
            assert not outlook.degraded, t
            assert [s.name for s in forecast.series] == played.plugged
            assert np.isfinite(quantiles_of(forecast, "a")).all(), t
    outlook.close()
    publisher.retire()


def test_a_daemon_that_comes_back_with_another_set_goes_on(rig, prefix):
    played = Played(NOISE, ["a", "b"])
    machine = rig(played)
    machine.ticks(100)
    machine.telemetry.close()  # the daemon ends; it comes back with one more series
    played.plugged = ["a", "b", "c"]
    played.redescribe()
    again = rig(played)
    machine.telemetry = again.telemetry
    made = machine.tick()
    assert len(machine.forecaster.recent.rows) == 101
    assert np.isfinite(row(made, "a")[0]).all()
    assert made.forecast.source_n == 0


def test_telemetry_of_another_life_begins_anew(rig):
    machine = rig(Played(NOISE, ["a", "b"]))
    machine.ticks(50)
    machine.telemetry.retire()
    other = Played(NOISE, ["a", "c"])
    machine.telemetry = rig(other).telemetry
    made = machine.tick()
    assert len(machine.forecaster.recent.rows) == 1
    assert np.isnan(made.forecast.quantiles).all()


def test_a_restart_goes_on_where_it_was(rig, model, tmp_path):
    machine = rig(Played(NOISE, ["a", "b"]), model)
    last = machine.ticks(200)[-1]
    again = restarted(machine, tmp_path)
    first = again.look()  # nothing came since, and nothing has to be relived
    assert first.forecast.source_n == last.forecast.source_n
    np.testing.assert_allclose(first.forecast.weight[:, :3], last.forecast.weight[:, :3], atol=0.05)
    assert again.forecaster.fast.told(0)[0][0] == 201  # the newest row twice, the others once
    again.ticks(2)
    assert np.isfinite(again.tick().forecast.surprise)


def test_of_another_model_only_the_sensors_are_remembered(rig, tmp_path):
    machine = rig(Played(NOISE, ["a", "b"]))
    machine.ticks(200)
    keep = Keep(str(tmp_path))
    machine.forecaster.save(keep)
    keep.close()
    machine.close()
    learned = Learned("cd" * 32)
    learned.load(keep)
    again = rig(Played(NOISE, ["a", "b"]), learned=learned)
    again.tick()
    running, blend, width = again.forecaster.fast.told(1)
    assert running[0] >= 200
    assert not np.any(blend[2])
    assert not np.any(width)


def test_the_same_time_on_earlier_days_is_told_to_the_model(rig, tmp_path):
    """Three days of a slow wave, by the minute; then ten live minutes on the fourth."""
    wall = MIDNIGHT_S + START_NS * 1e-9

    def wave(t):
        return 50 + 40 * np.sin(2 * np.pi * t / 86_400)

    minutes = wall + np.arange(-3 * 1440, 0) * 60.0
    live = wave(wall + np.arange(900.0))
    machine = rig(Played({"a": live, "b": live}))
    machine.tick()
    days = machine.learned.days
    days.place([("a", ""), ("b", "")])
    days.add(minutes, np.stack([wave(minutes), np.full(len(minutes), np.nan)], 1))
    again = restarted(machine, tmp_path)
    again.ticks(200)
    seen = again.forecaster.slow.days
    assert seen.shape == (1, 2, 7, 80)
    now = wall + again.played.n - again.forecaster._since_slow
    ahead = wave(now + np.arange(-15, 65) * 10)
    np.testing.assert_allclose(seen[0, 0, :3], np.tile(ahead, (3, 1)), atol=0.5)
    assert np.isnan(seen[0, 0, 3:]).all()
    assert np.isnan(seen[0, 1]).all()
