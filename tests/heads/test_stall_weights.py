"""The shipped weights, what they add up to, and files that are none."""

import json

import pytest

from jepad.errors import SettingError
from jepad.heads.stall_signs import SIGNS
from jepad.heads.stall_weights import Weights, parse, shipped


def test_what_ships_weighs_signs_there_are():
    weights = shipped()
    assert weights.of
    assert set(weights.of) <= set(SIGNS)
    assert weights.probability({}) < 0.05
    assert weights.probability(dict.fromkeys(SIGNS, 1.0)) > 0.95


def test_log_odds_are_a_sum():
    weights = Weights(-1.0, {"a": 2.0, "b": 1.0})
    assert weights.probability({"a": 0.5}) == 0.5
    assert weights.contributions({"a": 0.25, "b": 1.0, "c": 9.0}) == {"b": 1.0, "a": 0.5}
    assert list(weights.contributions({"a": 1.0, "b": 1.0})) == ["a", "b"]
    assert Weights(1e9, {}).probability({}) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"bias": 0}',
        '{"bias": "x", "weights": {}}',
        json.dumps({"bias": float("nan"), "weights": {}}),
        '{"bias": 0, "weights": {"free_low": -1}}',
        '{"bias": 0, "weights": {"free_low": Infinity}}',
    ],
)
def test_a_file_that_is_none_is_refused_by_name(text):
    with pytest.raises(SettingError, match=r"stall\.json"):
        parse(text)
