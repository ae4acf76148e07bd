"""Frames come out as the reference made them: exactly where that was 8-bit, else to rounding."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench import frames, golden
from jepad.errors import SettingError
from jepad.vision import preprocess

FIXTURES = Path(__file__).parents[1] / "fixtures/vjepa"


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def by_hand(pixels, height, width):
    """OpenCV's bilinear pixel by pixel, in Python's own integers."""
    out = np.empty((height, width, 3), np.uint8)

    def tap(i, wanted, size):
        at = np.float32((i + 0.5) * (size / wanted) - 0.5)
        low = int(np.floor(at))
        return low, float(at - np.float32(low))

    for y in range(height):
        top, down = tap(y, height, len(pixels))
        rows = [min(max(r, 0), len(pixels) - 1) for r in (top, top + 1)]
        b = [int(np.rint(np.float32(w) * 2048)) for w in (1 - down, down)]
        for x in range(width):
            left, across = tap(x, width, pixels.shape[1])
            if left < 0 or left >= pixels.shape[1] - 1:
                across = 0.0
            columns = [min(max(c, 0), pixels.shape[1] - 1) for c in (left, left + 1)]
            a = [int(np.rint(np.float32(w) * 2048)) for w in (1 - across, across)]
            for c in range(3):
                s = [int(pixels[r, columns[0], c]) * a[0] + int(pixels[r, columns[1], c]) * a[1]
                     for r in rows]  # fmt: skip
                parts = [(w * (v >> 4)) >> 16 for w, v in zip(b, s, strict=True)]
                out[y, x, c] = (sum(parts) + 2) >> 2
    return out


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((9, 13), (5, 7)), ((4, 6), (11, 9)), ((1, 1), (3, 2)), ((8, 12), (4, 6))],
)
def test_bilinear_is_opencvs(size, wanted):
    clip = noise(1, *size, 3)
    found = preprocess.bilinear(clip, *wanted)
    assert np.array_equal(found[0], by_hand(clip[0], *wanted))


def test_every_form_is_the_references():
    cases = [golden.load(FIXTURES, name) for name in golden.names(FIXTURES)]
    rows = [row for case in cases if case.kind == "preproc" for row in frames.run(case)]
    assert {row.array.split("/")[2].rstrip("0123456789") for row in rows} <= set(frames.FORMS)
    assert len(rows) >= 4
    assert not [row for row in rows if not row.ok]
    assert not [row for row in rows if "eval_crop" in row.array and row.delta]


def test_antialiasing_is_another_picture():
    clip = noise(1, 90, 120, 3)
    both = [preprocess.evaluate(clip, 32, how) for how in ("opencv", "antialiased")]
    assert np.abs(both[0] - both[1]).max() > 0.1


def test_antialiasing_is_that_of_tensors():
    clip = noise(2, 50, 71, 3)
    made = preprocess.antialiased(clip, 23, 80)
    tensor = torch.from_numpy(clip).permute(0, 3, 1, 2).float()
    want = torch.nn.functional.interpolate(
        tensor, (23, 80), mode="bilinear", antialias=True, align_corners=False
    )
    apart = np.abs(made - want.permute(0, 2, 3, 1).numpy())
    assert apart.max() <= 0.5 + 1e-3  # rounded, no more


def test_a_frame_of_the_right_short_side_is_not_resized():
    clip = noise(2, 73, 80, 3)  # 64 · 256 / 224 = 73
    made = preprocess.cropped(clip, 64)
    assert np.array_equal(made, clip[:, 4:68, 8:72])


def test_a_square_of_the_size_is_the_actions_form_as_it_is():
    clip = noise(2, 64, 64, 3)
    want = (clip.astype(np.float32) - 255 * preprocess.MEAN) / (255 * preprocess.STD)
    assert np.array_equal(preprocess.centred(clip, 64), want)


@pytest.mark.parametrize(
    ("size", "aspect", "box"),
    [((100, 300), (0.75, 1.35), (0, 82, 100, 135)), ((300, 100), (0.75, 1.35), (83, 0, 133, 100)),
     ((100, 120), (0.75, 1.35), (0, 0, 100, 120)), ((100, 121), (1.0, 1.0), (0, 10, 100, 100))],
)  # fmt: skip
def test_the_box_in_the_middle(size, aspect, box):
    assert preprocess.centre_box(*size, aspect) == box


def test_views_are_spread_along_the_long_side():
    clip = noise(1, 64, 113, 3)
    made = preprocess.views(clip, 64)
    assert made.shape == (3, 1, 64, 64, 3)
    assert np.array_equal(made[1], preprocess.normalised(clip[:, :, 24:88]))
    tall = preprocess.views(clip.swapaxes(1, 2), 64)
    assert np.array_equal(tall, made.swapaxes(2, 3))


@pytest.mark.parametrize(
    ("frames", "said"),
    [(np.zeros((2, 8, 8, 3), np.float32), "float32"), (np.zeros((8, 8, 3), np.uint8), "shape"),
     (np.zeros((2, 8, 8, 4), np.uint8), "shape"), (np.zeros((2, 0, 8, 3), np.uint8), "no pixels"),
     (np.zeros((0, 8, 8, 3), np.uint8), "no pixels"),
     (np.zeros((1, 1, 20000, 3), np.uint8), "at most"),
     (np.zeros((1, 1, 9000, 3), np.uint8), "too long")],
)  # fmt: skip
def test_what_is_no_frame_is_refused(frames, said):
    with pytest.raises(SettingError, match=said):
        preprocess.evaluate(frames, 64)


def test_what_is_no_crop_is_refused():
    with pytest.raises(SettingError, match="crop"):
        preprocess.evaluate(noise(1, 8, 8, 3), 0)
    with pytest.raises(SettingError, match="views"):
        preprocess.views(noise(1, 8, 8, 3), 4, 0)
    with pytest.raises(SettingError, match="float64"):
        preprocess.centred(np.zeros((1, 8, 8, 3)), 4)


def test_strides_do_not_matter():
    clip = noise(2, 60, 80, 3)
    turned = np.ascontiguousarray(clip[:, ::-1, :, ::-1])
    assert np.array_equal(preprocess.evaluate(clip[:, ::-1, :, ::-1], 32),
                          preprocess.evaluate(turned, 32))  # fmt: skip
