"""The shipped model and the baseline on a real stream, tick by tick."""

import hashlib
import logging

import numpy as np
import pytest

from jepad.engine import onnx
from jepad.engine.batch import Batch
from jepad.engine.forecaster import RELIVED, Forecaster
from jepad.engine.pace import Pace
from jepad.engine.recent import Recent
from jepad.engine.scale import rolled
from jepad.errors import EngineError, ModelError
from jepad.heads.prepare import HORIZONS
from jepad.heads.since import FEWEST
from jepad.models import store
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer

SERIES = [
    {"name": "load1", "unit": "", "semantics": "gauge"},
    {"name": "ctxt", "unit": "", "semantics": "counter"},
    {"name": "mem.MemFree", "unit": "KiB", "semantics": "gauge"},
    {"name": "psi.io.some.total", "unit": "us", "semantics": "counter"},
]


@pytest.fixture(scope="module")
def model():
    files = store.load()
    return onnx.load(files.onnx_path, files.digest)


@pytest.fixture
def machine(prefix):
    """machine.pass_(n) makes n seconds pass on it."""

    class Machine:
        def __init__(self):
            layout = Layout(
                "telemetry", np.float64, (4,), {"series": SERIES, "interval_s": 1.0}, 2048
            )
            self.writer = Writer.create(prefix, layout)
            self.stream = Stream(prefix, "telemetry")
            self.rng = np.random.default_rng(0)
            self.now = np.array([1.0, 0.0, 8e6, 0.0])
            self.n = 0

        def pass_(self, seconds):
            for _ in range(seconds):
                wave = np.sin(self.n / 5)
                step = self.rng.normal(size=4)
                self.now += [wave / 10, 500 + 100 * step[1], 1000 * step[2], 1e5 * (1 + wave)]
                self.n += 1
                self.writer.publish(self.now, self.n * 10**9)

        def forecaster(self, backend, every=1):
            batch = Batch(backend) if backend else None
            return Forecaster(Recent(self.stream, ()), batch, "ab" * 32, Pace(every))

    made = Machine()
    yield made
    made.writer.retire()


def played(machine, forecaster, seconds):
    out = []
    for _ in range(seconds):
        machine.pass_(1)
        out.append(forecaster.tick())
    return out


def caught_up(forecaster):
    """The first forecast after some of the past was relived."""
    for _ in range(RELIVED + 1):
        made = forecaster.tick()
        assert forecaster.behind == (made is None)
        if made is not None:
            return made
    raise AssertionError("still in the past")


def promises(forecast):
    assert forecast.horizons_s == (1, 4, 16, 64, 160, 640)
    assert forecast.quantiles.shape == (4, 6, 3)
    assert np.isfinite(forecast.quantiles).all()
    assert (np.diff(forecast.quantiles, axis=-1) >= 0).all()
    assert (forecast.quantiles >= 0).all()
    names = [s.name for s in forecast.series]
    assert (forecast.quantiles[names.index("psi.io.some.total")] <= 1e6).all()
    for share in (forecast.p_rise, forecast.weight):
        assert share.shape == (4, 6)
        assert ((share >= 0) & (share <= 1)).all()


def test_the_baseline_alone_from_the_eighth_sample(machine):
    forecaster = machine.forecaster(None)
    assert forecaster.tick() is None
    for made in played(machine, forecaster, FEWEST - 1):
        assert np.isnan(made.forecast.quantiles).all()  # nothing is said rather than guessed
        assert not made.forecast.p_rise.any()
    played(machine, forecaster, 1)
    for made in played(machine, forecaster, 33):
        promises(made.forecast)
        assert made.embedding is None
        assert made.age == 0
        assert not made.forecast.weight.any()
    assert made.forecast.part() == "baseline"
    assert made.forecast.source_n == 39
    assert made.forecast.t_ns == 40 * 10**9


def test_the_model_speaks_once_it_has_seen_enough(machine, model):
    forecaster = machine.forecaster(model)
    made = played(machine, forecaster, 30)
    for one in made[FEWEST:]:
        promises(one.forecast)
    assert not made[3].forecast.weight.any()
    assert made[-1].forecast.weight[:, :4].any()
    assert not made[-1].forecast.weight[:, 4:].any()
    assert made[-1].embedding.shape[0] == 1 + len(HORIZONS)
    machine.pass_(200)
    later = forecaster.tick()
    promises(later.forecast)
    assert later.forecast.weight[:, 4:].any()
    assert later.forecast.part() == "blend"


def test_surprise_comes_with_time_and_is_finite(machine, model):
    forecaster = machine.forecaster(model)
    machine.pass_(150)
    first = caught_up(forecaster).forecast
    assert np.isnan(first.surprise)
    assert first.causes == ()
    last = played(machine, forecaster, 60)[-1].forecast
    assert 0 <= last.surprise <= 20
    assert set(last.causes) <= {s.name for s in last.series}


def test_what_makes_it_unusual_is_named(machine):
    forecaster = machine.forecaster(None)
    machine.pass_(300)
    calm = forecaster.tick().forecast.surprise
    machine.now[0] = 500.0  # the load, of 1
    said = played(machine, forecaster, 10)[-1].forecast
    assert said.surprise > calm + 2
    assert said.causes[0] == "load1"


def test_a_late_start_relives_the_last_steps(machine, model):
    forecaster = machine.forecaster(model)
    machine.pass_(200)
    made = caught_up(forecaster)
    promises(made.forecast)
    assert made.forecast.weight[:, 4:].any()
    assert np.isfinite(made.forecast.surprise)
    assert made.age == 0
    assert np.unique(made.forecast.weight[:, :3]).size > 1  # each channel has its own by now
    assert forecaster.fast.age == 0


def test_between_two_words_the_last_one_is_rolled_forward(machine, model):
    forecaster = machine.forecaster(model, every=4)
    machine.pass_(100)
    made = [caught_up(forecaster), *played(machine, forecaster, 8)]
    assert [one.age for one in made] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert [one.embedding is not None for one in made] == [one.age == 0 for one in made]
    for one in made:
        promises(one.forecast)
        assert one.forecast.weight.any()


def test_rolled_reads_what_was_said_of_then():
    # A quantile that says its own horizon, as a straight line in the logarithm of time.
    said = np.log(np.array(HORIZONS, float))[None, :, None].repeat(3, 2)
    np.testing.assert_allclose(rolled(said, 0), said)
    now = rolled(said, 3)[0, :, 0]
    np.testing.assert_allclose(now[:3], np.log([4, 7, 19]))
    assert now[3] == pytest.approx(np.log(64))  # nothing was said of 67
    assert rolled(said[..., 0], 3).shape == (1, 4)


def test_a_model_that_fails_leaves_the_baseline(machine, caplog):
    class Broken:
        digest = "00" * 32

        def infer(self, feeds):
            raise EngineError("the model failed: out of order")

    caplog.set_level(logging.ERROR)
    forecaster = machine.forecaster(Broken())
    for made in played(machine, forecaster, 30)[FEWEST:]:
        promises(made.forecast)
        assert not made.forecast.weight.any()
    assert [r.getMessage() for r in caplog.records if "out of order" in r.getMessage()] == [
        "the baseline speaks alone: the model failed: out of order"
    ]


def test_unknown_and_extreme_values_are_borne(machine, model):
    forecaster = machine.forecaster(model)
    played(machine, forecaster, 40)
    for row in ([np.nan] * 4, [1e308, 1e308, 1e308, 1e308], [-1e308, 0, 0, 0], [np.inf] * 4):
        machine.n += 1
        machine.writer.publish(np.array(row, float), machine.n * 10**9)
        made = forecaster.tick()
        assert np.isfinite(made.forecast.quantiles).all()
        assert (np.diff(made.forecast.quantiles, axis=-1) >= 0).all()
        assert np.isfinite(made.forecast.weight).all()


def test_a_graph_that_is_none(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"no graph")
    digest = "0" * 64
    with pytest.raises(ModelError, match="SHA-256"):
        onnx.load(str(path), digest)
    with pytest.raises(ModelError, match="cannot read"):
        onnx.load(str(tmp_path / "absent.onnx"), digest)
    with pytest.raises(ModelError, match="not a model"):
        onnx.load(str(path), hashlib.sha256(b"no graph").hexdigest())


def test_inputs_of_another_version_are_refused(model):
    with pytest.raises(EngineError, match="inputs"):
        model.infer({"x": np.zeros((1, 1, 128, 3), np.float32)})
    feeds = {name: np.zeros((1, 2, 3), np.float32) for name in model.inputs}
    with pytest.raises(EngineError, match="failed"):
        model.infer(feeds)
