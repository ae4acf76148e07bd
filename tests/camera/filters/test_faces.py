"""Faces are hidden with a margin, and for a while after they were last seen."""

import numpy as np
import pytest

from jepad.camera.filters.faces import MARGIN, Faces, Kept, remembered, span
from jepad.camera.filters.yunet import Found
from jepad.errors import EngineError
from tests.camera.filters.shots import SIZE, noise, shot

BOX = np.array([0.4, 0.4, 0.6, 0.6], np.float32)


def found(*boxes):
    return Found(np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), np.float32))


def script(*answers):
    """A detector that gives these, one a frame."""
    left = list(answers)
    return lambda _view: left.pop(0)


def hidden(faces, seed=0):
    picture = noise(seed=seed)
    before = picture.copy()
    return (faces(shot(picture), picture) != before).any(2)


def test_a_face_and_its_margin_are_hidden_and_nothing_far():
    got = hidden(Faces(script(found(BOX)), 0, "pixelate"))
    low, high = int((0.4 - 0.2 * MARGIN) * SIZE), int((0.6 + 0.2 * MARGIN) * SIZE)
    assert got[low:high, low:high].mean() > 0.95
    assert not got[: low - 3].any()
    assert not got[:, high + 4 :].any()


def test_a_face_that_is_missed_stays_hidden_for_so_many_frames():
    faces = Faces(script(found(BOX), found(), found(), found()), 2, "pixelate")
    areas = [hidden(faces, seed).mean() for seed in range(4)]
    assert 0 < areas[0] < areas[1] < areas[2]
    assert areas[3] == 0


def test_a_face_found_again_is_one_box_and_a_new_one_another():
    moved = BOX + np.float32(0.02)
    kept = remembered([Kept(BOX, 1)], found(moved).boxes, 4)
    assert [each.missed for each in kept] == [0]
    other = np.array([0, 0, 0.1, 0.1], np.float32)
    kept = remembered(kept, found(other).boxes, 4)
    assert [each.missed for each in kept] == [0, 1]


def test_nothing_is_kept_when_nothing_is_to_be():
    assert remembered([Kept(BOX)], found().boxes, 0) == []


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 0, 1, 1), (0.99, 0, 1, 0.01)])
def test_a_span_is_within_the_square_and_never_empty(box):
    got = span(Kept(np.array(box, np.float32), 9), SIZE)
    assert 0 <= got.left < got.right <= SIZE
    assert 0 <= got.top < got.bottom <= SIZE


def test_it_looks_at_the_larger_view_and_hides_in_the_square():
    seen = []

    def find(view):
        seen.append(view.shape)
        return found(BOX)

    picture = noise()
    Faces(find, 0, "blur", look=96)(shot(picture, np.zeros((96, 96, 3), np.uint8)), picture)
    assert seen == [(96, 96, 3)]


def test_what_the_detector_raises_is_not_swallowed():
    def find(_view):
        raise EngineError("slow")

    with pytest.raises(EngineError, match="slow"):
        Faces(find, 4, "pixelate")(shot(noise()), noise())
