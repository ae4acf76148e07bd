"""What a pace says comes as wide as held on this channel."""

import numpy as np

from jepad.engine.bounds import sane
from jepad.engine.scale import Scale
from jepad.heads.forecast import Output
from jepad.heads.prepare import HORIZONS

STEPS, LEARNED = 900, 350


def told(context, claimed):
    """A model that gives the last mean and an interval of its own liking."""
    middle = np.nanmean(context[:, -32:], axis=1)[:, None, None]
    quantiles = middle + np.array([-claimed, 0.0, claimed]) + np.zeros((1, len(HORIZONS), 1))
    shape = quantiles.shape[:2]
    return Output(
        quantiles=quantiles[None],
        p_rise=np.zeros((1, *shape), np.float32),
        z=np.zeros((1, 8), np.float32),
        z_hat=np.zeros((1, len(HORIZONS), 8), np.float32),
        usable=np.ones((1, shape[0]), bool),
    )


def lived(values, claimed):
    """Each word on values [C, T], which the model claims to know within ±claimed."""
    scale, said = Scale(len(values), 1.0), []
    for t in range(8, values.shape[1]):
        context = values[:, max(0, t - 127) : t + 1]
        scale.step(context, values[:, t : t + 1].T)
        scale.hear(told(context, claimed))
        said.append(scale.word())
    return scale, np.stack([word.quantiles for word in said])


def test_noise_heavier_than_the_intervals_comes_to_be_held():
    rng = np.random.default_rng(0)
    values = 50 + np.stack([rng.standard_t(2, STEPS), 5 * rng.normal(size=STEPS)])
    _, said = lived(values, claimed=0.3)
    for i, h in ((0, 1), (1, 4), (2, 16)):
        now = values[:, 8 + h :].T
        held = (now >= said[:-h, :, i, 0]) & (now <= said[:-h, :, i, 2])
        np.testing.assert_allclose(held[LEARNED:].mean(axis=0), 0.8, atol=0.05)
    assert (np.diff(said, axis=-1) >= 0).all()


def test_bounds_and_order_hold_whatever_the_width():
    rng = np.random.default_rng(1)
    values = np.abs(rng.standard_t(2, (2, 300)))
    values[1] = 3.0
    scale, said = lived(values, claimed=0.01)
    assert scale._width.log[0].max() > 0
    kept = sane(said[-1], np.zeros(2), np.full(2, 4.0))
    assert (kept >= 0).all()
    assert (kept <= 4).all()
    assert (np.diff(kept, axis=-1) >= 0).all()


def test_of_what_is_unknown_nothing_is_said_and_nothing_learned():
    values = np.random.default_rng(2).normal(size=(2, 60))
    values[1] = np.nan
    scale = Scale(2, 1.0)
    for t in range(8, 60):
        scale.step(values[:, : t + 1], values[:, t : t + 1].T)
        word = scale.word()
    assert np.isnan(word.quantiles[1]).all()
    assert np.isfinite(word.quantiles[0]).all()
    assert not scale._width.log[1].any()
    assert scale._width.log[0].any()
