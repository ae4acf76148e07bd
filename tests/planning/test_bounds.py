"""Bounds as data: what they say, what is refused."""

import json

import pytest

from jepad.errors import NotFound, SettingError
from jepad.planning.bounds import DROID, KNOWN, TOY, Axis, Bounds, Norm, States, read


@pytest.mark.parametrize("bounds", KNOWN.values(), ids=list(KNOWN))
def test_json_keeps_everything(bounds):
    assert read(bounds.to_json()) == bounds
    assert read(bounds.name) is bounds


def test_json_by_hand_needs_only_what_it_says():
    text = '{"name": "hoist", "axes": [{"name": "up", "low": -1, "high": 2}]}'
    assert read(text) == Bounds("hoist", (Axis("up", -1, 2),))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 3}, r"\$.name"),
        ({"axes": []}, "different names"),
        ({"axes": [{"name": "a", "low": 1, "high": 0}]}, "low < high"),
        ({"axes": [{"name": "a"}]}, "low < high"),
        ({"axes": [{"name": "a", "fixed": 1}]}, "every axis is fixed"),
        ({"axes": [{"name": "a", "high": 1}] * 2}, "different names"),
        ({"axes": [{"name": "a", "high": 1, "dead_zone": -1}]}, "< 0"),
        ({"axes": [{"name": "a", "high": 1, "momentum": [1, 0]}]}, "momentum"),
        ({"axes": [{"name": "a", "high": 1, "start": 2}]}, "starts outside"),
        ({"axes": [{"name": "a", "low": 1, "high": 2, "start": 0}]}, "starts outside"),
        ({"axes": [{"name": "a", "low": 1, "high": 2, "dead_zone": 1}]}, "dead zone"),
        ({"norms": [{"axes": ["b"], "most": 1}]}, "a norm of b"),
        ({"norms": [{"axes": ["a"], "most": 0}]}, "above zero"),
        ({"states": {"motion": "leap"}}, "leap"),
        ({"states": {"walls": True}}, "give both"),
        ({"states": {"low": [0]}}, "neither"),
        ({"states": {"low": [0], "high": [1, 2]}}, "one number an entry"),
        ({"states": {"low": [2], "high": [1]}}, "above its high"),
    ],
)
def test_what_makes_no_sense_is_refused(change, said):
    good = {"name": "one", "axes": [{"name": "a", "high": 1}]}
    assert read(json.dumps(good)).names == ("a",)
    with pytest.raises(SettingError, match=said):
        read(json.dumps({**good, **change}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"norm": [{"axes": ["a"], "most": 1}]}, "bounds one has no norm; there are name, axes"),
        ({"axes": [{"name": "a", "high": 1, "deadzone": 0.5}]}, "axis a has no deadzone"),
        ({"norms": [{"axes": ["a"], "most": 1, "least": 0}]}, "norm has no least"),
        ({"states": {"lows": [0]}}, "states has no lows; there are motion"),
    ],
)
def test_a_misspelt_limit_does_not_vanish(change, said):
    good = {"name": "one", "axes": [{"name": "a", "high": 1}]}
    with pytest.raises(SettingError, match=said):
        read(json.dumps({**good, **change}))


@pytest.mark.parametrize(
    "axes",
    [
        (Axis("x", -1, 1), Axis("y", fixed=1.0)),
        (Axis("x", -1, 1), Axis("y", fixed=-1.0)),
        (Axis("x", -1, 1), Axis("y", -1, 1, fixed=1.0, fixed_from=3)),
        (Axis("x", -1, 1), Axis("y", fixed=0.0, start=1.0)),
        (Axis("x", 0.4, 1), Axis("y", -1, -0.4)),
    ],
)
def test_a_norm_that_can_not_be_held_is_refused(axes):
    with pytest.raises(SettingError, match=r"norm of x, y is at most 0\.5"):
        Bounds("arm", axes, (Norm(("x", "y"), 0.5),))
    Bounds("arm", axes, (Norm(("x",), 0.5), Norm(("x", "y"), 1.0)))


@pytest.mark.parametrize("text", ["[]", "3", '{"name": 3, "axes": 4, "norms": [5], "states": 6}'])
def test_json_of_another_form_is_a_setting_error(text):
    with pytest.raises((SettingError, NotFound)):
        read(text)


def test_a_limit_that_is_no_number_is_refused():
    with pytest.raises(SettingError, match="finite"):
        Axis("a", 0, float("inf"))


@pytest.mark.parametrize("text", ["{", '{"name": "\\ud800"}', "{}"])
def test_broken_json_is_a_setting_error(text):
    with pytest.raises(SettingError):
        read(text)


def test_an_unknown_name_says_which_there_are():
    with pytest.raises(NotFound, match="droid, toy"):
        read("crane")
    with pytest.raises(SettingError, match="dx, dy"):
        TOY.index("dz")


def test_a_fixed_axis_starts_where_it_is_fixed():
    late = Axis("grip", -1, 1, fixed=0.5, fixed_from=1)
    assert (late.mean(0), late.mean(1)) == (0.0, 0.5)
    assert (late.held(0), late.held(1)) == (None, 0.5)
    assert late.free
    assert not DROID.axes[3].free
    assert DROID.axes[3].deviation == 0


def test_an_axis_without_zero_starts_at_its_near_end():
    assert Axis("a", 1, 2).mean(0) == 1
    assert Axis("a", -2, -1).mean(0) == -1


def test_records_are_plain_data():
    assert Norm(("a",), 1.0) == Norm(("a",), 1.0)
    assert States() == States("pose")
