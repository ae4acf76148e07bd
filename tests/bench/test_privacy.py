"""The bench of the privacy filters: what counts as hidden, and where faces come to lie."""

import av
import numpy as np

from bench import footage, privacy
from bench.report import Options
from jepad.camera.filters.picture import Span
from jepad.camera.filters.yunet import Found

BOX = np.array([0.25, 0.25, 0.5, 0.5], np.float32)


def still(width=40, height=20):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[5:10, 20:30] = 255
    return footage.Still(0, av.VideoFrame.from_ndarray(pixels, format="rgb24"))


def test_a_face_is_hidden_when_nearly_all_of_it_is():
    side = privacy.SIZE
    whole = Span(side // 4, side // 4, side // 2, side // 2)
    assert privacy.covered(BOX, [whole])
    assert privacy.covered(
        BOX, [whole._replace(right=side * 3 // 8), whole._replace(left=side // 3)]
    )
    assert not privacy.covered(BOX, [whole._replace(right=side * 3 // 8)])
    assert not privacy.covered(BOX, [])


def test_a_face_smaller_than_a_pixel_can_be_hidden():
    speck = np.array([0.5, 0.5, 0.5001, 0.5001], np.float32)
    assert privacy.covered(speck, [Span(0, 0, privacy.SIZE, privacy.SIZE)])
    assert not privacy.covered(speck, [Span(0, 0, 10, 10)])


def test_boxes_go_where_the_frame_goes():
    made = still()
    for away in (1, 2, 3):
        square = footage.canvas(made, away)
        assert square.shape == (40 * away, 40 * away, 3)
        box = np.array([[20 / 40, 5 / 20, 30 / 40, 10 / 20]], np.float32)
        left, top, right, bottom = np.rint(footage.placed(box, made, away)[0] * 40 * away).astype(
            int
        )
        assert square[top:bottom, left:right].min() > 200
        white = (square > 200).all(2).sum()
        assert white == (right - left) * (bottom - top)


def test_a_score_leaves_the_surer_boxes():
    found = Found(np.stack([BOX, BOX]), np.array([0.7, 0.4], np.float32))
    assert privacy.above(found, 0.5).scores.tolist() == [np.float32(0.7)]


def test_each_way_of_hiding_hides_and_none_does_not():
    square = np.random.default_rng(0).integers(0, 250, (64, 64, 3), np.uint8)
    for what, way in privacy.WAYS.items():
        got = way(square.copy(), np.array([[0, 0, 1, 1]], np.float32))
        assert (got != square).any() == (what != "none")


def test_without_data_it_says_what_it_wants(tmp_path):
    for options in (Options(), Options(data=str(tmp_path))):
        report = privacy.run(options)
        assert report.goals == []
        assert report.notes == [privacy.NONE]
