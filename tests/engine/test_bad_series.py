"""Series no sensor should give, through the shipped model: a forecast that holds, or none."""

import os

import numpy as np
import pytest

from jepad.engine import onnx
from jepad.heads.since import FEWEST
from jepad.models import store

from .rig import Played, Rig, held, row

STEPS = 330
RNG = np.random.default_rng(11)


@pytest.fixture(scope="module")
def model():
    files = store.load()
    return onnx.load(files.onnx_path, files.digest)


def walk(seed=0, size=1.0):
    return 1e4 + size * np.random.default_rng(seed).normal(size=STEPS).cumsum()


def noise(seed=0):
    return 50 + 5 * np.random.default_rng(seed).normal(size=STEPS)


def with_some(column, value, share=0.1):
    out = column.copy()
    out[RNG.random(STEPS) < share] = value
    return out


def one_sample():
    out = np.full(STEPS, np.nan)
    out[40] = 7.0
    return out


def stopped():
    out = walk(5)
    out[150:] = np.nan
    return out


COLUMNS = {
    "good.walk": walk(1),
    "good.noise": noise(2),
    "bad.constant": np.full(STEPS, 3.25),
    "bad.zero": np.zeros(STEPS),
    "bad.nan": with_some(walk(3), np.nan, 0.5),
    "bad.inf": with_some(noise(4), np.inf),
    "bad.minus_inf": with_some(noise(5), -np.inf),
    "bad.missing": np.full(STEPS, np.nan),
    "bad.one": one_sample(),
    "bad.huge": 9.99e17 + 1e15 * RNG.normal(size=STEPS).cumsum(),
    "bad.beyond": np.full(STEPS, 1e18),
    "bad.spike": with_some(noise(6), 9e17, 0.01),
    "bad.tiny": 1e-300 * noise(7),
    "bad.alternating": 9e17 * (-1.0) ** np.arange(STEPS),
    "bad.stopped": stopped(),
    "bad.twin": noise(2),
    "bad.negated": -walk(1),
}
SILENT = {"bad.missing", "bad.one", "bad.beyond"}


@pytest.fixture(scope="module")
def told(model):
    """What was forecast at each step, of all of them together."""
    played = Played({name: column.copy() for name, column in COLUMNS.items()})
    rig = Rig(f"jepad-test-{os.getpid()}-bad", played, model)
    try:
        yield rig.ticks(STEPS)
    finally:
        rig.close()


def test_what_is_said_is_finite_and_in_order(told):
    for t, made in enumerate(told):
        said = made.forecast
        quantiles = said.quantiles
        spoken = np.isfinite(quantiles).all((1, 2))
        assert (np.isnan(quantiles).all((1, 2)) == ~spoken).all(), t
        assert (np.diff(quantiles[spoken], axis=-1) >= 0).all(), t
        for share in (said.p_rise, said.weight):
            assert ((share >= 0) & (share <= 1)).all(), t
        assert not said.weight[~spoken].any(), t
        assert np.isnan(said.surprise) or 0 <= said.surprise <= 20


def test_of_what_was_hardly_seen_nothing_is_said(told):
    for made in told:
        for name in SILENT:
            assert np.isnan(row(made, name)[0]).all(), name
    for name in COLUMNS.keys() - SILENT - {"bad.nan", "bad.inf", "bad.minus_inf", "bad.stopped"}:
        assert np.isfinite(row(told[FEWEST - 1], name)[0]).all(), name
        assert np.isfinite(row(told[-1], name)[0]).all(), name
    assert np.isfinite(row(told[160], "bad.stopped")[0]).all()
    assert np.isnan(row(told[-1], "bad.stopped")[0]).all()


def test_good_series_are_forecast_as_well_as_among_good_ones(told):
    for name, column in COLUMNS.items():
        if name.startswith("good."):
            for h in (1, 4, 16):
                share, count = held(told, column, name, h, first=100)
                assert 0.55 < share < 0.98, (name, h, share, count)


@pytest.mark.parametrize("name", ["bad.nan", "bad.inf", "bad.minus_inf", "bad.spike", "bad.twin"])
def test_what_can_be_seen_of_a_bad_one_is_forecast(told, name):
    for h in (1, 4, 16):
        share, count = held(told, COLUMNS[name], name, h, first=100)
        assert 0.55 < share < 0.99, (h, share, count)


def test_a_constant_is_known_to_stay(told):
    for name in ("bad.constant", "bad.zero"):
        quantiles = row(told[-1], name)[0]
        np.testing.assert_allclose(quantiles, COLUMNS[name][0], atol=0.05)


def test_a_twin_is_told_as_its_twin(told):
    one, other = row(told[-1], "good.noise")[0], row(told[-1], "bad.twin")[0]
    np.testing.assert_allclose(one, other, rtol=0.02)


def test_the_order_of_the_series_is_nothing_to_the_baseline(prefix):
    columns = {name: COLUMNS[name] for name in ("good.walk", "bad.nan", "bad.constant", "bad.huge")}
    said = []
    for names in (list(columns), list(columns)[::-1]):
        rig = Rig(prefix, Played({name: columns[name] for name in names}))
        said.append(rig.ticks(60)[-1])
        rig.close()
    for name in columns:
        np.testing.assert_array_equal(row(said[0], name)[0], row(said[1], name)[0])


@pytest.mark.parametrize("step_s", [0, -3600, 10**9])
def test_a_wall_clock_that_is_set_changes_no_forecast(prefix, step_s):
    said = []
    for jump in (0, step_s):
        rig = Rig(prefix, Played({"good.walk": walk(1), "good.noise": noise(2)}))
        rig.ticks(60)
        rig.wall_offset_ns += jump * 10**9
        said.append(rig.ticks(30)[-1].forecast.quantiles)
        rig.close()
    np.testing.assert_array_equal(said[0], said[1])


def test_rows_that_come_out_of_time_are_borne(prefix, model):
    """A counter's clock goes back, stands still and leaps: rates are unknown or huge."""
    rng = np.random.default_rng(0)
    played = Played({"x": 500.0 * np.arange(200), "y": noise(2)})
    played.kinds["x"] = "counter"
    take = played.take

    def disordered():
        sample = take()
        if sample.t_ns % 7 == 0:
            moved = int(rng.choice([-(10**10), 0, 10**13]))
            return type(sample)(max(sample.t_ns + moved, 1), sample.values, sample.flags)
        return sample

    played.take = disordered
    rig = Rig(prefix, played, model)
    for made in rig.ticks(120)[20:]:
        assert np.isfinite(made.forecast.quantiles).all()
        assert (made.forecast.quantiles[0] >= 0).all()
    rig.close()
