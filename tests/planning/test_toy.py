"""The toy world: walls, pictures that tell where the disc is."""

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.planning import toy


def test_a_push_moves_until_a_wall():
    assert toy.step([0.0, 0.5], [0.25, -0.25]).tolist() == [0.25, 0.25]
    assert toy.step([0.9, -0.9], [0.25, -0.25]).tolist() == [1.0, -1.0]


def test_a_push_is_cut_to_the_bounds():
    assert toy.step([0.0, 0.0], [5, -5]).tolist() == [0.25, -0.25]


def test_a_picture_shows_the_disc_where_it_is():
    picture = toy.render([0.5, -0.25]).astype(float)
    assert picture.shape == (64, 64, 3)
    disc = (picture - picture[0, 0]).sum(2)
    down, across = np.mgrid[:64, :64] + 0.5
    found = np.array([(disc * across).sum(), (disc * down).sum()]) / disc.sum()
    assert np.abs(found - (32 + np.array([0.5, -0.25]) * 25)).max() < 0.02


def test_the_whole_disc_is_in_the_picture_at_every_wall():
    corners = toy.render([[x, y] for x in (-1, 1) for y in (-1, 1)])
    area = (corners != corners[0, 32, 32]).any(-1).sum((1, 2))
    assert len(set(area.tolist())) == 1


def test_less_than_a_pixel_can_be_seen():
    assert (toy.render([0.0, 0.0]) != toy.render([0.01, 0.0])).any()


def test_many_at_once():
    random = np.random.default_rng(0)
    states, actions = toy.random_states(5, random), toy.random_actions(5, random)
    assert toy.render(states).dtype == np.uint8
    assert np.array_equal(toy.render(states)[3], toy.render(states[3]))
    assert np.array_equal(toy.step(states, actions)[2], toy.step(states[2], actions[2]))
    assert toy.distance(states, states).tolist() == [0] * 5


@pytest.mark.parametrize("wrong", [[1, 2, 3], 4, ["a", "b"], [float("nan"), 0], [[1], [2, 3]]])
def test_what_is_no_state_is_refused(wrong):
    with pytest.raises(SettingError, match="toy"):
        toy.render(wrong)
