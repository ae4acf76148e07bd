"""The forecast that needs no model."""

import numpy as np
import pytest

from jepad.heads.baseline import baseline
from tests.heads.test_prepare import odd_channels

FAR = (1, 4, 16, 64, 160, 640)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", [1, 2, 3, 12, 13, 20, 64, 128])
def test_always_finite_and_ordered(length):
    values = odd_channels()[0][:, -length:]
    q, p = baseline(values, 1.0, FAR)
    assert q.shape == (len(values), 6, 3)
    assert p.shape == (len(values), 6)
    assert np.isfinite(q).all()
    assert (np.diff(q, axis=-1) >= 0).all()
    assert ((p >= 0) & (p <= 1)).all()


def test_no_samples_at_all():
    q, p = baseline(np.empty((2, 0)), 1.0, (1, 4))
    assert not q.any()
    assert not p.any()


def test_a_constant_stays():
    q, p = baseline(np.full((1, 128), 5.0), 1.0, FAR)
    np.testing.assert_allclose(q, 5.0)
    assert not p.any()


def test_a_ramp_goes_on():
    ramp = np.arange(128.0)[None]
    q, p = baseline(ramp, 1.0, (1, 4, 16))
    assert q[0, 0, 1] == pytest.approx(128, abs=1)
    assert q[0, 1, 1] == pytest.approx(131, abs=2)
    assert q[0, 2, 1] > 135
    assert p[0, 2] > 0.5


def test_what_repeats_is_repeated():
    saw = np.tile(np.arange(10.0), 13)[None, :128]
    q, _ = baseline(saw, 1.0, (1, 4))
    assert q[0, 0, 1] == pytest.approx(saw[0, 128 - 10], abs=0.7)
    assert q[0, 1, 1] == pytest.approx(saw[0, 131 - 10 * 2], abs=0.7)


def test_a_day_is_used_where_the_window_holds_two():
    t = np.arange(288 * 3)
    day = np.sin(2 * np.pi * t / 288)[None] + 0.3 * (t % 288 == 150)
    q, _ = baseline(day[:, : 288 * 2 + 60], 300.0, (64,))
    assert q[0, 0, 1] == pytest.approx(day[0, 288 * 2 + 59 + 64], abs=0.2)


def test_noise_is_smoothed_and_its_width_is_known():
    x = np.random.default_rng(0).normal(size=(40, 128))
    q, _ = baseline(x, 1.0, (4,))
    assert np.abs(q[:, 0, 1]).mean() < 0.75 * np.abs(x[:, -1]).mean()
    assert 1.5 < (q[:, 0, 2] - q[:, 0, 0]).mean() < 4
