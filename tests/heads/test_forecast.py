"""Outputs come back in the input's units, ordered, and finite whatever the graph says."""

import numpy as np

from jepad.heads.forecast import finish
from jepad.heads.prepare import CONTEXT, prepare
from tests.heads.test_prepare import outputs, walk


def test_steps_are_scaled_and_added_to_the_last_value():
    values = walk(1, 2)
    prepared = prepare(values, np.ones(1))
    out = finish(prepared, outputs(1, 2, value=0.5))
    expected = values[:, :, -1, None] + 0.5 * prepared.scale
    np.testing.assert_allclose(out.quantiles[..., 1], expected)


def test_crossed_quantiles_are_ordered():
    said = outputs(1, 2)
    said["quantiles"] = said["quantiles"][..., ::-1]
    q = finish(prepare(walk(1, 2), np.ones(1)), said).quantiles
    assert (np.diff(q, axis=-1) >= 0).all()


def test_what_is_not_finite_becomes_persistence():
    values, said = walk(1, 2), outputs(1, 2)
    said["quantiles"][0, 0, 2, 1] = np.nan
    said["p_rise"][0, 1] = np.inf
    out = finish(prepare(values, np.ones(1)), said)
    assert out.usable.tolist() == [[False, True]]
    assert (out.quantiles[0, 0] == values[0, 0, -1]).all()
    assert np.isfinite(out.p_rise).all()


def test_a_channel_with_too_few_samples_keeps_its_last_value():
    values = np.full((1, 1, CONTEXT), np.nan)
    values[..., -3:] = 4.0
    out = finish(prepare(values, np.ones(1)), outputs(1, 1))
    assert not out.usable.any()
    assert (out.quantiles == 4.0).all()
    assert not out.p_rise.any()


def test_a_constant_channel_is_forecast_as_itself():
    values = np.full((1, 1, CONTEXT), 1234.5)
    out = finish(prepare(values, np.ones(1)), outputs(1, 1))
    np.testing.assert_allclose(out.quantiles, 1234.5, rtol=1e-5)
