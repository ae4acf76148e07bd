"""Which forecast is in force: the engine's while fresh, else the baseline made here."""

import numpy as np
import pytest

from jepad.engine.publisher import aged
from jepad.outlook import STEPS, STREAM, Coverage, Outlook
from jepad.records import Forecast, Series, Window
from jepad.ring.layout import Layout, float_bits
from jepad.ring.writer import Writer

DIGEST = bytes(range(32))


def window(n=40, last_n=None):
    series = (Series("cpu.busy", "tick", "counter"), Series("mem.MemFree", "KiB", "gauge"))
    t = np.arange(n)
    values = np.stack([t * 50.0, 1000.0 - t], axis=1)
    last = n - 1 if last_n is None else last_n
    return Window(series, t.astype(np.int64) * 10**9, values, np.zeros(n, np.uint32), last)


def engine(prefix):
    schema = {
        "series": [{"name": "mem.MemFree", "unit": "KiB", "semantics": "gauge"}],
        "horizons_s": list(STEPS),
    }
    return Writer.create(prefix, Layout(STREAM, "f4", (1, 6, 5), schema, 64, DIGEST))


def say(writer, source_n, causes=()):
    record = np.tile(np.array([1, 2, 3, 0.5, 0.75], np.float32), (1, 6, 1))
    writer.publish(
        record, t_ns=source_n * 10**9, source_n=source_n, aux=(float_bits(2.5), aged(7, causes))
    )


def test_too_few_samples_give_no_forecast(prefix):
    assert Outlook(prefix, ["*"], 1.0).update(window(3)) is None


def test_without_an_engine_the_baseline_speaks_and_we_are_degraded(prefix):
    outlook = Outlook(prefix, ["mem.*", "cpu.busy"], 1.0)
    forecast = outlook.update(window())
    assert outlook.degraded
    assert forecast.part() == "baseline"
    assert forecast.model_digest == ""
    assert [s.name for s in forecast.series] == ["mem.MemFree", "cpu.busy"]
    assert forecast.series[1].unit == "tick/s"
    assert outlook.now["cpu.busy"] == pytest.approx(50.0)
    busy = forecast.quantiles[1]
    assert busy == pytest.approx(np.full((6, 3), 50.0), rel=0.01)
    assert (np.diff(forecast.quantiles, axis=2) >= 0).all()


def test_a_fresh_engine_speaks(prefix):
    with engine(prefix) as writer:
        say(writer, 39, causes=[0, 200])
        outlook = Outlook(prefix, ["*"], 1.0)
        forecast = outlook.update(window())
        assert not outlook.degraded
        assert forecast.causes == (forecast.series[0].name,)  # none has place 200
        assert forecast.model_digest == DIGEST.hex()
        assert forecast.part() == "blend"
        assert forecast.surprise == 2.5
        assert forecast.quantiles[0, 0].tolist() == [1, 2, 3]
    outlook.close()


@pytest.mark.parametrize("source_n", [30, 99])
def test_a_stale_engine_or_one_of_another_life_is_not_believed(prefix, source_n):
    with engine(prefix) as writer:
        say(writer, source_n)
        outlook = Outlook(prefix, ["*"], 1.0)
        assert outlook.update(window()).part() == "baseline"
        say(writer, 39)
        assert outlook.update(window()).part() == "blend"
        assert outlook.update(window(46)).part() == "baseline"
    outlook.close()


def test_the_forecast_of_an_earlier_life_is_not_served_as_fresh(prefix):
    with engine(prefix) as writer:
        say(writer, 39)
        later = window()
        later.t_ns[:] += 600 * 10**9  # restarted ten minutes on, the numbers go on
        outlook = Outlook(prefix, ["*"], 1.0)
        assert outlook.update(later).part() == "baseline"
    outlook.update(window())
    assert outlook.degraded  # its writer has stopped
    outlook.close()


def test_the_baseline_stays_within_what_can_be(prefix):
    falling = window()
    falling.values[:, 0] = np.r_[0, np.cumsum(np.linspace(400, 1, 39))]
    quantiles = Outlook(prefix, ["cpu.busy"], 1.0).update(falling).quantiles
    assert (quantiles >= 0).all()


def test_horizons_are_of_seconds_however_fast_we_sample(prefix):
    fast = window(400)
    fast.t_ns[:] //= 10
    outlook = Outlook(prefix, ["*"], 0.1)
    assert outlook.update(fast).horizons_s == pytest.approx(STEPS)


def test_a_retired_stream_is_opened_anew(prefix):
    first = engine(prefix)
    say(first, 39)
    outlook = Outlook(prefix, ["*"], 1.0)
    outlook.update(window())
    first.retire()
    with engine(prefix) as second:
        say(second, 40)
        outlook.update(window(41))
        assert not outlook.degraded
    outlook.close()


def test_coverage_counts_what_held():
    series = (Series("a", "", "gauge"),)
    coverage = Coverage()

    def forecast(n):
        quantiles = np.array([[[0.0, 1.0, 2.0]]], np.float32)
        one = np.ones((1, 1), np.float32)
        return Forecast(n, n * 10**9, series, (16.0,), quantiles, one, one, 0.0, "x")

    assert np.isnan(coverage.share(["a"]))
    for n in range(400):
        coverage.update(forecast(n), {"a": 1.0})
    held = coverage.share(["a"])
    assert held > 0.95
    for n in range(400, 800):
        coverage.update(forecast(n), {"a": 9.0})
    assert coverage.share(["a"]) < 0.1
