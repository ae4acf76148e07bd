"""A channel is judged from its own beginning, and not before it has seen enough."""

import numpy as np
import pytest

from jepad.heads.baseline import baseline
from jepad.heads.since import FEWEST, baselines

HORIZONS = (1, 4, 16, 64)
RNG = np.random.default_rng(0)


def test_channels_of_one_age_are_as_ever():
    x = RNG.normal(size=(5, 128)).cumsum(1)
    x[2, 10:20] = np.nan
    for ours, plain in zip(baselines(x, 1.0, HORIZONS), baseline(x, 1.0, HORIZONS), strict=True):
        np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize("age", [FEWEST, 12, 20, 47])
def test_a_young_channel_is_no_calmer_than_it_would_be_alone(age):
    x = RNG.normal(size=(3, 128)).cumsum(1)
    x[1, : 128 - age] = np.nan
    quantiles, p_rise = baselines(x, 1.0, HORIZONS)
    alone, _ = baseline(x[1:2, -age:], 1.0, HORIZONS)
    width = (quantiles[1, :, 2] - quantiles[1, :, 0]) / (alone[0, :, 2] - alone[0, :, 0])
    assert (width > 0.7).all()
    np.testing.assert_array_equal(quantiles[[0, 2]], baseline(x[[0, 2]], 1.0, HORIZONS)[0])
    assert np.isfinite(p_rise).all()


def test_a_silent_channel_is_forecast_from_its_last_value():
    x = RNG.normal(size=(2, 128)).cumsum(1)
    x[1, -40:] = np.nan
    quantiles, _ = baselines(x, 1.0, HORIZONS)
    then, _ = baseline(x[1:2, :-40], 1.0, [h + 40 for h in HORIZONS])
    np.testing.assert_array_equal(quantiles[1], then[0])
    assert (np.diff(quantiles[1, 0, [0, 2]]) > np.diff(quantiles[0, 0, [0, 2]])).all()


def test_of_too_few_samples_nothing_is_said():
    x = np.full((3, 128), np.nan)
    x[0] = 5.0
    x[1, -FEWEST + 1 :] = 5.0
    quantiles, p_rise = baselines(x, 1.0, HORIZONS)
    assert np.isfinite(quantiles[0]).all()
    assert np.isnan(quantiles[1:]).all()
    assert not p_rise[1:].any()


@pytest.mark.parametrize("shape", [(0, 128), (3, 0), (3, 1)])
def test_nothing_gives_nothing(shape):
    quantiles, _ = baselines(np.zeros(shape), 1.0, HORIZONS)
    assert quantiles.shape == (shape[0], 4, 3)
    assert np.isnan(quantiles).all()
