"""Patches are what a convolution sees whose stride is its kernel; other clips are refused."""

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.vision.patches import unfold


def clip(frames=4, rows=32, columns=48):
    return np.random.default_rng(0).normal(size=(frames, rows, columns, 3)).astype(np.float32)


def test_a_patch_is_channel_frame_row_column():
    video = clip()
    patches = unfold(video)
    assert patches.shape == (2 * 2 * 3, 3 * 2 * 16 * 16)
    assert patches.dtype == np.float32
    assert patches.flags.c_contiguous
    token = 1 * 6 + 1 * 3 + 2  # second tubelet, second row, third column
    wanted = video[2:4, 16:32, 32:48].transpose(3, 0, 1, 2).reshape(-1)
    np.testing.assert_array_equal(patches[token], wanted)


def test_sizes_of_tubelet_and_patch_are_free():
    assert unfold(clip(1, 24, 8), tubelet=1, patch=8).shape == (3, 3 * 64)


def test_strides_do_not_matter():
    video = clip(8, 64, 96)
    np.testing.assert_array_equal(
        unfold(video[::2, ::2, ::-2]), unfold(video[::2, ::2, ::-2].copy())
    )


@pytest.mark.parametrize(
    "wrong",
    [
        clip().astype(np.float64),
        (clip() * 255).astype(np.uint8),
        clip()[0],
        clip()[..., :2],
        clip()[:0],
        clip()[:, :0],
        clip(3),
        clip(rows=33),
        clip(columns=40),
    ],
    ids=["double", "bytes", "one frame", "two channels", "no frame", "no row", *("odd",) * 3],
)
def test_other_clips_are_refused(wrong):
    with pytest.raises(SettingError):
        unfold(wrong)
