"""The centre square of frames of any shape."""

import av
import numpy as np
import pytest

from jepad.camera.square import Squares


def frame(height, width):
    """Black, but red in the middle square."""
    pixels = np.zeros((height, width, 3), np.uint8)
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    pixels[top : top + least, left : left + least, 0] = 255
    return av.VideoFrame.from_ndarray(pixels)


@pytest.mark.parametrize("size", [(72, 128), (128, 72), (64, 64), (33, 47), (1, 1), (720, 1280)])
def test_the_middle_is_cut(size):
    square = Squares().cut(frame(*size), 64)
    assert square.shape == (64, 64, 3)
    assert square.flags.c_contiguous
    assert square.flags.writeable
    assert square[:, 3:-3, 0].min() > 200  # the edge may hold a pixel of what is beside


def test_one_for_every_size_and_side():
    squares = Squares()
    for size in ((72, 128), (128, 72), (72, 128)):
        for side in (64, 96, 128, 160, 192, 64):
            assert squares.cut(frame(*size), side)[4:-4, 4:-4, 0].min() > 200


def test_area_is_averaged():
    pixels = np.zeros((256, 256, 3), np.uint8)
    pixels[::2] = 255  # lines of one pixel: any other resize shows a moiré
    square = Squares().cut(av.VideoFrame.from_ndarray(pixels), 64)
    assert abs(square.astype(int) - 128).max() <= 2
