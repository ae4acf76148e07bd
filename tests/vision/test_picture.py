"""PNG files whole or not at all, and sheets that show what they were given."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from jepad.errors import NotFound, NotReady, SettingError
from jepad.vision import picture
from jepad.vision.picture import MARK, PAPER, RAMP, SIDE, Curves, Landscape, Shown, sheet, write

SQUARE = np.zeros((8, 8, 3), np.uint8)
VALUES = np.arange(12.0).reshape(3, 4)


def colours(pixels):
    return {tuple(int(c) for c in row) for row in np.unique(pixels.reshape(-1, 3), axis=0)}


def test_a_png_comes_back_as_it_was(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    path = str(tmp_path / "a.png")
    write(path, pixels[:, ::-1])
    assert np.array_equal(np.asarray(Image.open(path)), pixels[:, ::-1])
    assert os.listdir(tmp_path) == ["a.png"]


def test_what_cannot_be_written_is_a_named_error(tmp_path):
    with pytest.raises(NotFound, match="absent"):
        write(str(tmp_path / "absent/a.png"), SQUARE)
    for wrong in (SQUARE.astype(float), SQUARE[..., 0], SQUARE[:0]):
        with pytest.raises(SettingError, match="no picture"):
            write(str(tmp_path / "a.png"), wrong)
    assert not os.listdir(tmp_path)


def test_a_sheet_has_a_place_for_each_panel():
    one = sheet([[Shown("a", SQUARE)]])
    four = sheet([[Shown("a", SQUARE), Shown("b", SQUARE)], [Shown("c", SQUARE)]])
    assert four.shape == (2 * one.shape[0], 2 * one.shape[1], 3)
    assert np.array_equal(four[one.shape[0] :, one.shape[1] :].reshape(-1, 3).min(0), PAPER)
    with pytest.raises(SettingError):
        sheet([])


def test_a_path_is_drawn_on_the_picture():
    drawn = sheet([[Shown("a", SQUARE, [(1, 1), (6, 6)], goal=(6, 1))]])
    assert MARK in colours(drawn)
    assert MARK not in colours(sheet([[Shown("a", SQUARE)]]))


def test_a_landscape_is_dark_where_the_energy_is_low():
    drawn = sheet([[Landscape("e", VALUES, ("x", "y"), (0, 0), (1, 1), (0.5, 0.5))]])
    inside = drawn[picture.TOP : picture.TOP + SIDE, picture.LEFT : picture.LEFT + SIDE]
    # The lowest value is at the first of both axes: below, to the left.
    assert tuple(inside[-20, 20]) == tuple(RAMP[0])
    assert tuple(inside[20, -20]) == tuple(RAMP[-1])
    assert MARK in colours(inside)


@pytest.mark.parametrize("values", [VALUES * np.nan, VALUES * 0, np.array([[np.inf, 1.0]])])
def test_values_that_are_none_or_all_the_same_are_drawn(values):
    assert sheet([[Landscape("e", values, ("x", "y"), (0, 0), (0, 0), (0, 0))]]).any()


@pytest.mark.parametrize(
    "lines", [[], [("a", [])], [("a", [1.0])], [("a", [1.0, float("nan"), 3.0]), ("b", [2, 2])]]
)
def test_curves_of_any_length_are_drawn(lines):
    assert sheet([[Curves("c", "step", lines)]]).shape[2] == 3


def test_without_pillow_the_words_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(NotReady, match="jepad\\[video\\]"):
        sheet([[Shown("a", SQUARE)]])
