"""A clip cut into the patches that become tokens.

Owns: the order of values in a patch, that of the convolution's weight: channel, frame, row, column.
Does not know: resizing, normalisation, the network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jepad.errors import SettingError

CHANNELS = 3


def unfold(clip: npt.NDArray[Any], tubelet: int = 2, patch: int = 16) -> npt.NDArray[np.float32]:
    """clip float32 [T, H, W, 3] -> float32 [K, 3 * tubelet * patch * patch], K tokens in the order
    of `jepad.vision.grid`. Any strides.

    SettingError: another type or number of axes, no pixels, sizes that don't divide.
    """
    if clip.dtype != np.float32:
        raise SettingError(f"a normalised clip is float32, not {clip.dtype}")
    if clip.ndim != 4 or clip.shape[3] != CHANNELS:
        raise SettingError(f"a clip is [T, H, W, 3], not {list(clip.shape)}")
    if not clip.size:
        raise SettingError(f"a clip without pixels: {list(clip.shape)}")
    frames, rows, columns, _ = clip.shape
    if frames % tubelet or rows % patch or columns % patch:
        raise SettingError(
            f"{frames} frames of {rows}×{columns} pixels don't divide into tubelets of {tubelet}"
            f" and patches of {patch}"
        )
    cut = clip.reshape(
        *(frames // tubelet, tubelet, rows // patch, patch),
        *(columns // patch, patch, CHANNELS),
    )
    values = CHANNELS * tubelet * patch * patch
    return np.ascontiguousarray(cut.transpose(0, 2, 4, 6, 1, 3, 5).reshape(-1, values))
