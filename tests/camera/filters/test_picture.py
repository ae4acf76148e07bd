"""Pixels that are hidden stay hidden."""

import numpy as np
import pytest

from jepad.camera.filters.picture import Pixelate, Span, closed, hide, pixelated
from tests.camera.filters.shots import noise, shot


@pytest.mark.parametrize("block", [1, 4, 7, 64, 200])
def test_a_block_is_its_mean_even_at_the_edge(block):
    picture = noise(64)
    got = pixelated(picture, block)
    assert got.shape == picture.shape
    assert got.dtype == np.uint8
    for top in range(0, 64, block):
        for left in range(0, 64, block):
            part = picture[top : top + block, left : left + block].reshape(-1, 3)
            cell = got[top : top + block, left : left + block].reshape(-1, 3)
            assert (cell == cell[0]).all()
            assert abs(cell[0] - part.mean(0)).max() <= 0.5


def test_white_does_not_overflow():
    assert (pixelated(np.full((512, 512, 3), 255, np.uint8), 512) == 255).all()


def test_pixelating_makes_a_new_picture():
    picture = noise()
    before = picture.copy()
    got = Pixelate(16)(shot(picture), picture)
    assert (picture == before).all()
    assert len(np.unique(got.reshape(-1, 3), axis=0)) <= 16


@pytest.mark.parametrize("size", [64, 224, 250])
def test_a_closed_frame_has_at_most_eight_by_eight_cells(size):
    got = closed(noise(size))
    assert len(np.unique(got.reshape(-1, 3), axis=0)) <= 64


@pytest.mark.parametrize("way", ["pixelate", "blur"])
def test_hiding_leaves_the_rest_alone(way):
    picture = noise()
    before = picture.copy()
    hide(picture, Span(10, 20, 31, 50), way)
    outside = np.ones((64, 64), bool)
    outside[20:50, 10:31] = False
    assert (picture[outside] == before[outside]).all()
    assert (picture[20:50, 10:31] != before[20:50, 10:31]).any(2).mean() > 0.9


def test_a_hidden_face_is_nine_cells_at_most():
    picture = noise()
    hide(picture, Span(0, 0, 30, 30))
    assert len(np.unique(picture[:30, :30].reshape(-1, 3), axis=0)) <= 9


def test_a_blur_removes_what_is_finer_than_a_third_of_the_box():
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, ::2] = 255
    hide(picture, Span(8, 8, 56, 56), "blur")
    assert np.ptp(picture[8:56, 8:56].astype(int)) < 20


@pytest.mark.parametrize("way", ["pixelate", "blur"])
@pytest.mark.parametrize("span", [Span(5, 5, 5, 9), Span(63, 63, 64, 64), Span(9, 9, 5, 5)])
def test_a_box_of_nothing_or_one_pixel_is_no_error(way, span):
    hide(noise(), span, way)
