"""Windows hold what was, what came, and never mix the two."""

import dataclasses
import json

import numpy as np

from jepad.heads.history import BEFORE
from jepad.heads.prepare import CONTEXT, HORIZONS
from jepad.learn.augment import disturbed
from jepad.learn.batches import to_batch
from jepad.learn.corpus import cut
from jepad.learn.sampler import Sampler
from jepad.learn.traces import Trace
from jepad.learn.windows import REACH, futures, gather, prepare_now


def counting(t=4000, dt=300.0):
    """A channel that is its own clock, beside noise."""
    values = np.stack([np.arange(t), np.random.default_rng(0).normal(size=t)], 1)
    return cut(Trace("x", "h", dt, values.astype(np.float32)))


def test_now_is_the_last_of_the_context():
    w = gather([counting()], [1000], [np.array([0])])
    assert w.path[0, 0, CONTEXT - 1] == 1000
    assert w.path[0, 0, CONTEXT] == 1001
    assert w.path.shape == (1, 1, CONTEXT + REACH)


def test_days_are_the_same_time_earlier():
    c = counting()
    assert c.day == 288
    days = gather([c], [1000], [np.array([0])]).history.days
    assert days[0, 0, 0, BEFORE - 1] == 1000 - 288
    assert days[0, 0, 2, BEFORE - 1 + 64] == 1000 - 3 * 288 + 64
    assert np.isnan(days[0, 0, 3, 0])  # before the trace began


def test_no_day_shows_the_future():
    days = gather([counting()], [1000], [np.array([0])]).history.days
    assert np.nanmax(days) <= 1000


def test_beyond_the_end_nothing_is_known():
    c = counting()
    w = gather([c], [c.seen - 3], [np.array([0])])
    assert np.isfinite(w.path[0, 0, : CONTEXT + 2]).all()
    assert np.isnan(w.path[0, 0, CONTEXT + 2 :]).all()
    actual = futures(w, prepare_now(w))[0]
    assert np.isfinite(actual[0, 0, 0])
    assert np.isnan(actual[0, 0, 1:]).all()


def test_answers_are_at_the_horizons():
    w = gather([counting()], [1000], [np.array([0])])
    actual, rises, known = futures(w, prepare_now(w))
    assert actual[0, 0].tolist() == [1000 + h for h in HORIZONS]
    # A clock is above any earlier threshold already: nothing to foresee.
    assert not known.any() or rises[known > 0].all()


def _blind(c):
    values = c.values.copy()
    values[c.end :] = np.nan
    return values


def test_no_batch_reaches_past_the_training_time(cuts):
    early = [dataclasses.replace(c, values=_blind(c)) for c in cuts]
    sampler = Sampler(early, seed=0, rows=32)
    for _ in range(20):
        w, _ = sampler.draw()
        assert np.isfinite(w.path[..., CONTEXT:]).all()


def test_the_draw_can_be_taken_up_again(cuts):
    one, other = Sampler(cuts, seed=1, rows=32), Sampler(cuts, seed=2, rows=32)
    one.draw()
    other.restore(json.loads(json.dumps(one.state())))
    (a, i), (b, j) = one.draw(), other.draw()
    assert i == j
    np.testing.assert_array_equal(a.path, b.path)


def test_accidents_spare_the_newest_sample_and_the_answers(smd):
    at = np.linspace(200, 2000, 64).astype(int).tolist()
    w = disturbed(gather([smd] * 64, at, [np.arange(4)] * 64), np.random.default_rng(0))
    assert np.isfinite(w.path[..., CONTEXT - 1 :]).all()
    assert np.isnan(w.path).any()


def test_a_batch_is_finite_and_weighs_only_what_is_known(smd):
    at = [300, 900, smd.seen - 3]
    batch = to_batch(gather([smd] * 3, at, [np.arange(5)] * 3), horizon=2)
    for tensor in (*batch.feeds, *batch.later, batch.actual, batch.weight, batch.rises):
        assert tensor.isfinite().all()
    assert (batch.weight[2, :, 1:] == 0).all()
    assert (batch.weight[:2] > 0).all()
