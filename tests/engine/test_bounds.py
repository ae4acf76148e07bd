"""Forecasts stay within what can be."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jepad.engine.bounds import ceilings, floors, sane
from jepad.records import Series

EVERY = [Series("cpu0.user", "tick", "counter"), Series("cpu1.user", "tick", "counter")]


def test_ceilings_follow_units():
    series = [
        Series("cpu.busy", "tick/s", "gauge"),
        Series("psi.io.some.total", "us/s", "gauge"),
        Series("gpu0.util", "%", "gauge"),
        Series("disk.vda.iot", "ms/s", "gauge"),
        Series("disk.vda.wiot", "ms/s", "gauge"),
        Series("mem.MemFree", "KiB", "gauge"),
    ]
    assert ceilings(series, EVERY).tolist() == [200, 1e6, 100, 1e3, np.inf, np.inf]


def test_floors_follow_what_was_seen():
    series = [
        Series("ctxt", "1/s", "gauge"),
        Series("mem.MemFree", "KiB", "gauge"),
        Series("power.battery", "W", "gauge"),
        Series("temp.outside", "C", "gauge"),
    ]
    context = np.array([[1.0, np.nan], [5.0, 6.0], [-2.0, 3.0], [1.0, 2.0]])
    assert floors(series, context).tolist() == [0, 0, -np.inf, -np.inf]


@given(arrays(np.float64, (2, 3, 3), elements=st.floats(-1e9, 1e9)))
def test_quantiles_are_ordered_and_inside(quantiles):
    low, high = np.array([0.0, -np.inf]), np.array([100.0, 10.0])
    out = sane(quantiles, low, high)
    assert (np.diff(out, axis=-1) >= 0).all()
    assert (out >= low[:, None, None]).all()
    assert (out <= high[:, None, None]).all()
