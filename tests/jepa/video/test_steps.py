"""Where the tokens of a step lie."""

import numpy as np

from jepad.jepa.video.steps import places
from jepad.vision.grid import Grid, positions


def test_conditions_turn_with_time_alone():
    found = places(Grid(1, 2, 4), first=3, steps=2).reshape(2, 10, 3)
    assert found[:, :2].tolist() == [[[3, 0, 0]] * 2, [[4, 0, 0]] * 2]
    assert found[0, 2:, 1].tolist() == [0] * 4 + [1] * 4
    assert found[0, 2:6, 2].tolist() == [0, 0.5, 1, 1.5]


def test_patches_of_a_square_frame_lie_as_in_a_clip():
    found = places(Grid(1, 3, 3), steps=4, conditions=3).reshape(4, 12, 3)
    np.testing.assert_array_equal(found[:, 3:].reshape(-1, 3), positions(Grid(4, 3, 3)))
