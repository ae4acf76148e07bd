"""What the forecaster looks back on, from a real stream."""

import numpy as np
import pytest

from jepad.engine.recent import CONTEXT, DECIMATION, Recent
from jepad.records import GAP
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer

SCHEMA = [
    {"name": "ctxt", "unit": "", "semantics": "counter"},
    {"name": "junk", "unit": "", "semantics": "gauge"},
    {"name": "load1", "unit": "", "semantics": "gauge"},
]


@pytest.fixture
def telemetry(prefix):
    def make(interval_s=1.0, slots=2048):
        schema = {"series": SCHEMA, "interval_s": interval_s}
        layout = Layout("telemetry", np.float64, (3,), schema, slots)
        writers.append(Writer.create(prefix, layout))
        return writers[-1], Stream(prefix, "telemetry")

    writers = []
    yield make
    for writer in writers:
        writer.retire()


def feed(writer, steps, interval_s=1.0, flags=0):
    """A counter of 5/s and a gauge that counts the samples."""
    for n in steps:
        t_ns = int((n + 1) * interval_s * 1e9)
        writer.publish(np.array([5.0 * n * interval_s, 7.0, n]), t_ns, flags=flags)


def test_counters_become_rates_and_others_are_left_out(telemetry):
    writer, stream = telemetry()
    feed(writer, range(4))
    recent = Recent(stream, ())
    assert recent.update() == 4
    assert [s.name for s in recent.series] == ["load1", "ctxt"]
    assert recent.series[1].unit.endswith("/s")
    np.testing.assert_allclose(recent.fast(), [[0, 1, 2, 3], [np.nan, 5, 5, 5]])
    assert recent.last_n == 3
    assert recent.update() == 0


def test_goes_on_where_it_was(telemetry):
    writer, stream = telemetry()
    recent = Recent(stream, ())
    assert recent.update() == 0
    for k in range(0, 30, 3):
        feed(writer, range(k, k + 3))
        assert recent.update() == 3
    np.testing.assert_allclose(recent.fast()[1, 1:], 5)
    np.testing.assert_allclose(recent.fast()[0], np.arange(30))


def test_a_gap_is_unknown(telemetry):
    writer, stream = telemetry()
    recent = Recent(stream, ())
    feed(writer, range(3))
    feed(writer, range(3, 4), flags=GAP)
    feed(writer, range(4, 6))
    recent.update()
    assert np.isnan(recent.fast()[1]).tolist() == [True, False, False, True, False, False]


def test_overtaken_it_takes_what_is_left(telemetry):
    writer, stream = telemetry(slots=16)
    recent = Recent(stream, ())
    feed(writer, range(4))
    recent.update()
    feed(writer, range(4, 104))
    assert recent.update() > 0
    assert recent.last_n == 103
    assert recent.fast()[0, -1] == 103
    np.testing.assert_allclose(recent.fast()[1, -5:], 5)


def test_memory_is_bounded_and_scales_are_right(telemetry):
    writer, stream = telemetry()
    recent = Recent(stream, ())
    feed(writer, range(1500))
    recent.update()
    assert recent.fast().shape == (2, CONTEXT)
    assert recent.slow().shape == (2, CONTEXT)
    assert len(recent.rows) == CONTEXT * DECIMATION
    np.testing.assert_allclose(recent.slow()[0, -1], np.mean(np.arange(1490, 1500)))


def test_ten_hertz_is_read_at_one(telemetry):
    writer, stream = telemetry(interval_s=0.1)
    recent = Recent(stream, ())
    feed(writer, range(25), 0.1)
    assert recent.step_s == pytest.approx(1.0)
    recent.update()
    feed(writer, range(25, 48), 0.1)
    recent.update()
    rates = recent.fast()[1]
    np.testing.assert_allclose(rates[np.isfinite(rates)], 5)
    assert (np.diff(recent.fast()[0]) == 10).all()


def test_slow_scale_of_the_unseen_is_unknown(telemetry):
    writer, stream = telemetry()
    recent = Recent(stream, ())
    for n in range(20):
        gauge = np.nan if n < 10 else 3.0
        writer.publish(np.array([n, 0.0, gauge]), (n + 1) * 10**9)
    recent.update()
    np.testing.assert_allclose(recent.slow()[0], [np.nan, 3.0])
