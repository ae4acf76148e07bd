"""The newest frames, in their order."""

import numpy as np
import pytest

from jepad.scene.following.film import Film


def filmed(film, *values):
    for value in values:
        film.slot[:] = value
        film.take()
    return film


def first(clip):
    return clip[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("count", range(1, 12))
def test_the_newest_are_kept_oldest_first(count):
    film = filmed(Film(4, (2, 3, 3)), *range(count))
    assert first(film.clip()) == list(range(count))[-4:]
    assert film.count == count


def test_a_clip_is_a_copy_of_whole_steps():
    film = filmed(Film(4, (1, 1, 3)), 1, 2, 3)
    clip = film.clip(2)
    assert first(clip) == [2, 3]
    filmed(film, 9, 9, 9)
    assert first(clip) == [2, 3]
    assert clip.dtype == np.uint8


def test_what_follows_a_gap_does_not_follow_on_what_was():
    film = filmed(Film(4, (1, 1, 3)), 1, 2, 3)
    film.slot[:] = 7
    film.clear()
    film.take()
    assert first(film.clip()) == [7]
    assert first(filmed(film, 8, 9).clip()) == [7, 8, 9]
