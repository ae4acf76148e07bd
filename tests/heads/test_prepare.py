"""Whatever a machine shows, the model's inputs are finite, scaled, and blind to the future."""

import numpy as np
import pytest

from jepad.heads.forecast import finish
from jepad.heads.history import AFTER, BEFORE, DAYS, History
from jepad.heads.prepare import ANCHORS, CONTEXT, HORIZONS, INPUTS, SHORTEST, STATS, prepare
from jepad.heads.season import FEED
from jepad.jepa.config import Shape

RNG = np.random.default_rng(0)


def walk(b=2, c=3, t=CONTEXT):
    return np.random.default_rng(1).normal(size=(b, c, t)).cumsum(2)


def odd_channels():
    """One window [1, C, 128] a kind of trouble."""
    plain = walk(1, 1)[0, 0]
    gaps = plain.copy()
    gaps[::3] = np.nan
    short = plain.copy()
    short[:-5] = np.nan
    infinite = plain.copy()
    infinite[[3, 60]] = np.inf, -np.inf
    spike = np.zeros(CONTEXT)
    spike[-1] = 1e12
    return np.stack(
        [
            plain,
            np.full(CONTEXT, np.nan),
            np.full(CONTEXT, 7.0),
            np.zeros(CONTEXT),
            gaps,
            short,
            infinite,
            spike,
            plain * 1e-12,
            plain * 1e15,
            np.where(np.arange(CONTEXT) == CONTEXT - 1, np.nan, plain),
            np.where(np.arange(CONTEXT) == 5, 3.0, np.nan),
        ]
    )[None]


def history(b, c, days=True):
    past = RNG.normal(size=(b, c, DAYS, BEFORE + AFTER)) if days else None
    if past is not None:
        past[:, :, 3:] = np.nan
        past[0, 0] = np.nan
    return History(np.zeros((b, c)), np.ones((b, c)), np.full((b, c), 2.0), past)


def outputs(b, c, value=0.0):
    q = np.full((b, c, 4, 3), value, np.float32) + np.array([-1, 0, 1], np.float32)
    zeros = np.zeros((b, c, 4), np.float32)
    return {
        "quantiles": q,
        "p_rise": zeros,
        "z": np.zeros((b, 8), np.float32),
        "z_hat": np.zeros((b, 4, 8), np.float32),
    }


def test_sizes_are_those_the_network_is_built_for():
    shape, feeds = Shape(), prepare(walk(), np.ones(2)).feeds
    assert (shape.inputs, shape.stats, shape.anchors) == (INPUTS, STATS, ANCHORS)
    assert (shape.season, shape.horizons) == (FEED, HORIZONS)
    assert feeds["x"].shape == (2, 3, CONTEXT, INPUTS)
    assert feeds["valid"].shape == (2, 3, CONTEXT)
    assert feeds["stats"].shape == (2, 3, STATS)
    assert feeds["anchors"].shape == (2, 3, 4, ANCHORS)
    assert feeds["season"].shape == (2, 3, FEED)
    assert all(a.dtype == np.float32 and a.flags.c_contiguous for a in feeds.values())


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.filterwarnings("error")
def test_nothing_odd_makes_it_other_than_finite(known):
    values = odd_channels()
    past = history(1, values.shape[1]) if known else None
    prepared = prepare(values, np.array([1.0]), past)
    assert all(np.isfinite(a).all() for a in prepared.feeds.values())
    assert (prepared.scale > 0).all()
    out = finish(prepared, outputs(1, values.shape[1]))
    assert np.isfinite(out.quantiles).all()
    assert np.isfinite(out.p_rise).all()


def test_short_contexts_are_said_to_be_so():
    values = walk(1, 2, SHORTEST)
    values[0, 1, 0] = np.nan
    prepared = prepare(values, np.ones(1))
    assert prepared.usable.tolist() == [[True, False]]
    assert prepared.feeds["valid"].sum(-1).tolist() == [[SHORTEST, SHORTEST - 1]]
    assert not prepared.feeds["valid"][..., :-SHORTEST].any()


def test_only_the_newest_count():
    long = walk(1, 2, 300)
    a, b = prepare(long, np.ones(1)), prepare(long[..., -CONTEXT:], np.ones(1))
    assert all(np.array_equal(a.feeds[k], b.feeds[k]) for k in a.feeds)


def test_the_level_and_unit_of_a_channel_hardly_matter():
    values = walk()
    one, other = prepare(values, np.ones(2)), prepare(values * 1000, np.ones(2))
    np.testing.assert_allclose(one.feeds["x"], other.feeds["x"], atol=1e-4)
    np.testing.assert_allclose(one.feeds["anchors"], other.feeds["anchors"], atol=1e-3)
    moved = prepare(values + 50, np.ones(2))
    np.testing.assert_allclose(one.feeds["x"], moved.feeds["x"], atol=1e-3)


def test_yesterday_is_read_at_the_horizon():
    values = walk(1, 1)
    past = History(*(np.full((1, 1), np.nan),) * 3, np.zeros((1, 1, DAYS, BEFORE + AFTER)))
    past.days[:] = values[0, 0, -1]
    past.days[0, 0, 0, BEFORE - 1 + 16] += 3.0  # yesterday, 16 steps from now
    prepared = prepare(values, np.ones(1), past)
    yesterday = prepared.feeds["anchors"][0, 0, :, -5] * prepared.scale[0, 0]
    np.testing.assert_allclose(yesterday, [0, 0, 3.0, 0], atol=1e-4)


def test_without_days_the_season_is_silent():
    assert not prepare(walk(), np.ones(2)).feeds["season"].any()
    assert prepare(walk(), np.ones(2), history(2, 3)).feeds["season"].any()


def test_the_threshold_is_the_history_s_where_known():
    values = walk(1, 2)
    past = History(*(np.array([[np.nan, 0.0]]),) * 2, np.array([[np.nan, 9.0]]))
    q97 = prepare(values, np.ones(1), past).q97[0]
    assert q97[1] == pytest.approx(9.0, abs=1e-5)
    assert values[0, 0].min() <= q97[0] <= values[0, 0].max()


def test_a_window_never_sees_what_came_after():
    trace = walk(1, 2, 300)
    before = prepare(trace[..., :200], np.ones(1))
    trace[..., 200:] = 1e9
    after = prepare(trace[..., :200], np.ones(1))
    assert all(np.array_equal(before.feeds[k], after.feeds[k]) for k in before.feeds)


def test_a_lone_host_is_prepared_as_in_a_batch():
    values = walk(3, 4)
    together = prepare(values, np.array([1.0, 10.0, 60.0]))
    alone = prepare(values[1:2], np.array([10.0]))
    for name, array in alone.feeds.items():
        np.testing.assert_allclose(array[0], together.feeds[name][1], atol=1e-5)
