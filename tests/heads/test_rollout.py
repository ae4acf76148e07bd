"""A forecast run on: the path between horizons, doubt that grows, actions that add up."""

import numpy as np
import pytest

from jepad.heads import rollout
from jepad.heads.prepare import CONTEXT, HORIZONS
from jepad.heads.rollout import Stage, Told


def quantiles(middle, width, channels=1):
    """[C, H, 3] from a median and half a width, each of one value or one a horizon."""
    middle, width = (np.broadcast_to(np.asarray(a, float), (4,)) for a in (middle, width))
    return np.repeat(np.stack([middle - width, middle, middle + width], -1)[None], channels, 0)


def width(stage, of="without"):
    rows = getattr(stage, of)
    return rows[..., 2] - rows[..., 0]


def now(value):
    return np.full((2, 1), float(value))


def test_without_an_action_nothing_differs():
    told = quantiles(5, 1)
    stage = rollout.first(Told(told))
    np.testing.assert_array_equal(stage.without, told)
    np.testing.assert_array_equal(stage.acted, told)
    assert not stage.difference.any()


def test_the_medians_add_up():
    stage = rollout.first(Told(quantiles(5, 1), quantiles(-2, 0.5)))
    np.testing.assert_allclose(stage.acted[..., 1], 3)
    np.testing.assert_allclose(stage.difference, quantiles(-2, 0.5))
    assert (np.diff(stage.acted, axis=-1) >= 0).all()


def test_what_is_frozen_is_sure_however_unsure_it_was():
    """All of a use goes, and all its doubt is the doubt of the effect."""
    stage = rollout.first(Told(quantiles(100, 30), quantiles(-100, 30)))
    np.testing.assert_allclose(stage.acted, 0, atol=1e-9)


def test_an_effect_that_is_unsure_by_itself_adds_its_doubt():
    stage = rollout.first(Told(quantiles(100, 3), quantiles(10, 4)))
    np.testing.assert_allclose(width(stage, "acted"), 10)


@pytest.mark.parametrize(
    ("steps", "value"), [(0, 10), (1, 11), (2.5, 12.5), (16, 16), (40, 18), (64, 20)]
)
def test_the_path_is_straight_between_horizons(steps, value):
    stage = rollout.first(Told(quantiles([11, 14, 16, 20], 1)))
    assert stage.at(now(10), steps).without[0, 1] == pytest.approx(value)


def test_the_context_goes_on_with_the_medians():
    context = np.array([[1.0, np.nan, 10.0]])
    out = rollout.extended(context, quantiles([11, 14, 16, 20], 1), 4)
    np.testing.assert_array_equal(out, [[1, np.nan, 10, 11, 12, 13, 14]])
    long = np.arange(float(CONTEXT))[None]
    out = rollout.extended(long, quantiles(0, 1), 64)
    assert out.shape == (1, CONTEXT)
    assert out[0, 0] == 64


def test_a_path_does_not_leave_what_can_be():
    assert rollout.extended(np.full((1, 9), 3.0), quantiles(-7, 1), 1)[0, -1] == 0
    assert rollout.extended(np.array([[-1.0, 3.0]]), quantiles(-7, 1), 1)[0, -1] == -7


def test_noise_does_not_grow_and_a_random_walk_does():
    """After 64 steps more: noise as wide as before, a walk √2 of it."""
    steps = np.array(HORIZONS)
    for told, grown in ((quantiles(0, 1), 1), (quantiles(0, np.sqrt(steps)), np.sqrt(2))):
        begun = rollout.first(Told(told))
        again = rollout.later(begun, begun.at(now(0), 64), told, Told(told))
        np.testing.assert_allclose(width(again)[0, 3], grown * width(begun)[0, 3], rtol=0.02)


def test_a_smooth_path_makes_nothing_surer():
    begun = rollout.first(Told(quantiles(0, 1)))
    calm = quantiles(0, 1e-6)
    again = rollout.later(begun, begun.at(now(0), 64), calm, Told(calm))
    assert (width(again) >= width(begun)).all()
    assert (width(again, "acted") >= width(begun, "acted")).all()


def test_an_earlier_effect_keeps_its_doubt():
    begun = rollout.first(Told(quantiles(10, 1), quantiles(-4, 2)))
    before = begun.at(now(10), 30)
    again = rollout.later(begun, before, quantiles(10, 1), Told(quantiles(6, 1)))
    np.testing.assert_allclose(again.difference[..., 1], -4)
    kept = np.broadcast_to(width(before, "difference")[:, None], (1, 4))
    np.testing.assert_allclose(width(again, "difference"), kept)


def test_wild_and_empty_forecasts_stay_finite():
    for value in (0.0, 1e100, -1e100, 1e-300):
        told = Told(quantiles(value, abs(value)), quantiles(-value, abs(value) / 2))
        with np.errstate(all="ignore"):
            begun = rollout.first(told)
            again = rollout.later(begun, begun.at(now(0), 16), told.quantiles, told)
        for stage in (begun, again):
            assert isinstance(stage, Stage)
            assert not np.isnan(stage.without).any()
            assert not np.isnan(stage.acted).any()
