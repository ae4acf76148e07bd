"""What may be passed, and what not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepad.errors import SettingError
from jepad.guard import validation


@pytest.mark.parametrize(
    "text", ["cpu", "psi.memory.some.avg10", "disk.*", "temp.[ab]?", "cgroup./a/b@1.service.x"]
)
def test_names_that_are_names(text):
    assert validation.name(text, "domain") == text


@pytest.mark.parametrize("text", ["", "a b", "a\n", "\x1b[31m", "x" * 256, "é", "a;b", "\udcff"])
def test_names_that_are_none(text):
    with pytest.raises(SettingError, match="domain"):
        validation.name(text, "domain")


@given(st.text(min_size=256))
def test_a_refusal_is_short_whatever_was_passed(text):
    with pytest.raises(SettingError) as caught:
        validation.name(text, "x")
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_horizons():
    assert validation.horizon_us(0) == 0
    assert validation.horizon_us(validation.MAX_HORIZON_US) == validation.MAX_HORIZON_US
    for bad in (-1, validation.MAX_HORIZON_US + 1):
        with pytest.raises(SettingError, match="30 days"):
            validation.horizon_us(bad)


def test_options():
    assert validation.options({"a": 1}) == {"a": 1}
    for bad in ({"": 1}, {f"o{i}": 1 for i in range(17)}):
        with pytest.raises(SettingError, match="option"):
            validation.options(bad)


def test_shapes():
    assert validation.window_shape([128, 3]) == (128, 3)
    for bad in ([], [3], [0, 3], [3, 0], [4097, 1], [1, 4097], [1, 1, 1], [10**30, 1]):
        with pytest.raises(SettingError, match="window of shape"):
            validation.window_shape(bad)


def test_intervals():
    assert validation.interval_s(1) == 1.0
    for bad in (0, -1, math.nan, math.inf, 1e9, "1", None, True):
        with pytest.raises(SettingError, match="dt_s"):
            validation.interval_s(bad)


def test_lists_of_names():
    assert validation.names(["a", "b"], "series") == ["a", "b"]
    for bad in ("ab", [1], ["a b"], None):
        with pytest.raises(SettingError, match="series"):
            validation.names(bad, "series")
