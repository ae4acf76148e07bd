"""An anomaly is what this machine does not usually do, and it has a cause."""

import json
import math

import numpy as np
import pytest

from jepad.heads import usual
from jepad.heads.anomaly import EVERY, LENGTH, STRETCHES, Anomaly
from jepad.heads.prepare import HORIZONS

CHANNELS, WIDTH = 5, 12


def host(steps, seed=0):
    """A day of load that swings, channels that follow it, one that never moves."""
    rng = np.random.default_rng(seed)
    load = 50 + 20 * np.sin(np.arange(steps) / 40) + rng.normal(size=steps)
    out = np.stack([load, 2 * load, 300 - load, rng.normal(size=steps), np.full(steps, 7.0)], 1)
    out[:, :3] += rng.normal(size=(steps, 3))
    return out


def forecast(values, wrong=0.0):
    """What a model might say as of one row: no change, a little off."""
    medians = np.repeat(values[:, None], len(HORIZONS), 1) + wrong
    return np.stack([medians - 1, medians, medians + 1], -1)


def feed(anomaly, rows, speaks=True):
    out = []
    for i, row in enumerate(rows):
        said = forecast(np.nan_to_num(row)) if speaks else None
        rng = np.random.default_rng(i)
        latent = rng.normal(size=(1 + len(HORIZONS), WIDTH)) if speaks else None
        out.append(anomaly.observe(row, said, latent))
    return np.array(out)


@pytest.fixture(scope="module")
def lived():
    anomaly = Anomaly(CHANNELS)
    scores = feed(anomaly, host(900))
    return anomaly.state(), scores


def restored(lived):
    out = Anomaly(CHANNELS)
    out.restore(json.loads(json.dumps(lived[0])))
    return out


def test_silent_until_it_knows_what_is_usual(lived):
    scores = lived[1]
    assert np.isnan(scores[:150]).all()
    assert np.isfinite(scores[250:]).all()


def test_the_usual_is_no_anomaly(lived):
    scores = lived[1][300:]
    assert np.median(scores) < 1
    assert np.mean(scores > 5) < 0.02
    assert scores.min() >= 0


@pytest.mark.parametrize("speaks", [True, False])
def test_a_broken_relation_is_told_with_its_cause(lived, speaks):
    anomaly = restored(lived)
    before = feed(anomaly, host(1000)[900:], speaks)
    # Each value is one that was often seen; only together they never were.
    odd = host(1030)[1000:]
    odd[:, 1] = 200 - odd[:, 1]
    after = feed(anomaly, odd, speaks)
    assert after[10:].min() > before.max() + 1
    shares = anomaly.contributions()
    assert shares.argmax() == 1
    assert shares.sum() == pytest.approx(1)


def test_a_channel_that_never_moved_moves(lived):
    anomaly = restored(lived)
    rows = host(1000)[900:]
    feed(anomaly, rows)
    rows[:, 4] = 9
    assert feed(anomaly, rows[:20])[-1] > 4
    assert anomaly.contributions().argmax() == 4


def test_what_the_model_missed_counts(lived):
    """The values are as they ever were; it is the forecast that they did not follow."""
    calm, missed = restored(lived), restored(lived)
    for row in host(1000)[900:]:
        calm.observe(row, forecast(row))
        missed.observe(row, forecast(row, wrong=200.0))
    assert missed.score > calm.score + 2


def test_nonsense_is_survived():
    anomaly = Anomaly(CHANNELS)
    rng = np.random.default_rng(1)
    rows = host(600)
    rows[rng.random(rows.shape) < 0.05] = np.nan
    rows[100:110] = np.inf
    rows[200, 2], rows[300:305, 0], rows[400] = -np.inf, 1e18, np.nan
    for i, row in enumerate(rows):
        said = forecast(row) if i % 3 else None
        latent = np.full((1 + len(HORIZONS), WIDTH), np.nan if i % 7 else 1e18)
        score = anomaly.observe(row, said, latent, steps=1 + (i % 50 == 0) * 9)
        assert math.isnan(score) or 0 <= score <= usual.MOST
        assert np.isfinite(anomaly.contributions()).all()
    assert math.isfinite(anomaly.score)


def test_all_missing_and_all_constant():
    for row in (np.full(CHANNELS, np.nan), np.zeros(CHANNELS), np.full(CHANNELS, 1e18)):
        anomaly = Anomaly(CHANNELS)
        scores = feed(anomaly, [row] * 300)
        assert np.nanmax(scores) < 5


def test_memory_is_bounded():
    anomaly = Anomaly(2)
    for row in np.random.default_rng(0).normal(size=(STRETCHES * LENGTH + 3000, 2)):
        anomaly.observe(row)
    values, missed, latent = anomaly._sample.table()
    assert values.shape == (STRETCHES, LENGTH, 2)
    assert missed.shape == (STRETCHES, LENGTH, 2, 2)
    assert latent.shape == (STRETCHES, LENGTH)


def test_a_step_at_a_time_says_what_all_at_once_say(lived):
    """The bench scores whole arrays; what ships goes step by step."""
    anomaly = restored(lived)
    rows = host(1000)[900:]
    known = anomaly.usual
    said = []
    for row in rows:
        anomaly.observe(row, forecast(row))
        said.append(anomaly.score)
    missed = np.full((len(rows), 2, CHANNELS), np.nan)
    for i in range(len(rows)):
        for back in (0, 1):
            made = (i - 1) // EVERY * EVERY - back * EVERY
            if made >= 0:
                medians = forecast(rows[made])[..., 1]
                missed[i, back] = rows[i] - usual.foretold(medians, np.asarray(i - made))
    level = usual.levels(known, rows, missed, np.full(len(rows), np.nan))
    whole = usual.deviations(usual.depth(known, usual.smoothed(level)))
    assert np.allclose(said[2:], whole[2:])


def test_a_state_of_another_machine_is_refused(lived):
    state = lived[0]
    with pytest.raises(ValueError, match="channels"):
        Anomaly(CHANNELS + 1).restore(state)
    with pytest.raises(ValueError, match="no number"):
        Anomaly(CHANNELS).restore({**state, "sd": [math.nan] * CHANNELS})
    with pytest.raises(ValueError, match="linear step"):
        Anomaly(CHANNELS).restore({**state, "step": state["step"][:-1]})
    fresh = Anomaly(CHANNELS)
    fresh.restore({})
    assert fresh.usual is None
    assert Anomaly(CHANNELS).state() == {}


def test_forecasts_between_horizons():
    medians = np.array([[10.0, 20.0, 30.0, 40.0]])
    ages = [1, 2, 4, 8, 16, 64]
    told = [usual.foretold(medians, np.asarray(a)).item() for a in ages]
    assert told == pytest.approx([10, 15, 20, 25, 30, 40])
