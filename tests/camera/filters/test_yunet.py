"""The network's numbers decoded exactly."""

import numpy as np
import pytest

from jepad.camera.filters import yunet
from jepad.errors import EngineError

SIDE = 64


def nothing(height=SIDE, width=SIDE):
    out = {}
    for stride in yunet.STRIDES:
        count = (height // stride) * (width // stride)
        out |= {f"cls_{stride}": np.zeros((1, count, 1), np.float32)}
        out |= {f"obj_{stride}": np.zeros((1, count, 1), np.float32)}
        out |= {f"bbox_{stride}": np.zeros((1, count, 4), np.float32)}
    return out


def put(outputs, stride, place, scores, box=(0, 0, 0, 0)):
    outputs[f"cls_{stride}"][0, place, 0], outputs[f"obj_{stride}"][0, place, 0] = scores
    outputs[f"bbox_{stride}"][0, place] = box
    return outputs


def test_a_box_is_its_cell_its_offset_and_the_exponent_of_its_size():
    # Stride 16 on 64 pixels: 4 columns; place 6 is row 1, column 2.
    box = (0.25, -0.5, np.log(1.5), np.log(0.5))
    found = yunet.found(put(nothing(), 16, 6, (0.9, 0.4), box), SIDE, SIDE, 0.5)
    across, down = (2 + 0.25) * 16, (1 - 0.5) * 16
    wanted = [across - 12, down - 4, across + 12, down + 4]
    assert np.allclose(found.boxes, [np.array(wanted) / SIDE])
    assert np.allclose(found.scores, [np.sqrt(0.9 * 0.4)])


@pytest.mark.parametrize("stride", yunet.STRIDES)
def test_every_stride_counts_its_own_columns(stride):
    wide = 128
    columns = wide // stride
    place = columns + 1  # row 1, column 1
    found = yunet.found(put(nothing(64, wide), stride, place, (1, 1)), 64, wide, 0.5)
    assert np.allclose(found.boxes[0, :2], [stride / 2 / wide, stride / 2 / 64])


def test_scores_beyond_their_range_are_clipped_and_low_ones_left_out():
    outputs = put(nothing(), 8, 0, (7, 1.5))
    put(outputs, 8, 40, (0.2, 0.2))
    put(outputs, 8, 50, (-3, 0.9))
    assert yunet.found(outputs, SIDE, SIDE, 0.3).scores.tolist() == [1]


def test_boxes_stay_within_the_picture_whatever_their_size():
    found = yunet.found(put(nothing(), 32, 0, (1, 1), (0, 0, 500, 500)), SIDE, SIDE, 0.5)
    assert found.boxes.tolist() == [[0, 0, 1, 1]]


def test_a_picture_that_is_no_whole_number_of_strides_is_padded_right_and_below():
    view = np.full((40, 70, 3), 9, np.uint8)
    planes = yunet.feeds(view)["input"]
    assert planes.shape == (1, 3, 64, 96)
    assert planes[0, :, :40, :70].min() == 9
    assert planes[0, :, 40:].max() == planes[0, :, :, 70:].max() == 0
    found = yunet.found(put(nothing(64, 96), 8, 12 * 4 + 6, (1, 1), (0.5, 0.5, 0, 0)), 40, 70, 0.5)
    assert np.allclose(found.boxes, [[48 / 70, 32 / 40, 56 / 70, 1]])


def test_the_input_is_bgr_and_not_scaled():
    view = np.zeros((32, 32, 3), np.uint8)
    view[..., 0] = 200  # red
    planes = yunet.feeds(view)["input"]
    assert planes.dtype == np.float32
    assert planes[0, :, 3, 3].tolist() == [0, 0, 200]


def test_of_boxes_that_overlap_the_surest_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 8, 10, 18]], np.float32)
    assert yunet.suppressed(boxes) == [0, 2, 3]


def test_what_two_boxes_share():
    box = np.array([0, 0, 2, 2], np.float32)
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6], [0, 0, 0, 0]], np.float32)
    assert np.allclose(yunet.shared(box, others), [1, 1 / 3, 0, 0])
    empty = np.zeros(4, np.float32)
    assert yunet.shared(empty, empty[None]).tolist() == [0]


def test_nothing_found_is_no_error():
    found = yunet.found(nothing(), SIDE, SIDE, 0.5)
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize("spoil", ["missing", "short", "nan", "inf"])
def test_what_can_not_be_yunets_is_an_error_and_never_no_face(spoil):
    outputs = nothing()
    if spoil == "missing":
        del outputs["obj_32"]
    elif spoil == "short":
        outputs["cls_8"] = outputs["cls_8"][:, 1:]
    else:
        outputs["bbox_16"][0, 3, 2] = float(spoil)
    with pytest.raises(EngineError, match="the face model's"):
        yunet.found(outputs, SIDE, SIDE, 0.5)


def test_a_thousand_boxes_are_enough():
    outputs = nothing(1280, 1280)
    outputs["cls_8"][:] = outputs["obj_8"][:] = 1
    assert len(yunet.found(outputs, 1280, 1280, 0.5).boxes) <= yunet.MOST
