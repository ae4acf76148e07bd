"""Frames as V-JEPA 2 was trained on them: resized, cropped, normalised.

Owns: OpenCV's 8-bit bilinear without OpenCV, the antialiased resize of tensors, the crops of the
evaluations and of the action-conditioned model, ImageNet's mean and deviation.
Does not know where frames come from, nor what a model is.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from jepad.errors import SettingError

Frames = npt.NDArray[np.uint8]  # [T, H, W, 3], RGB
Clip = npt.NDArray[np.float32]  # [T, H, W, 3], normalised
Ints = npt.NDArray[np.int64]

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
#: The short side is resized to crop · 256 / 224 before the crop is cut.
MARGIN = (256, 224)
#: Width by height of the box that the action-conditioned model sees: at inference a square, in its
#: training whatever of the frame is within these.
SQUARE = (1.0, 1.0)
TRAINED = (0.75, 1.35)
#: No side is longer: a frame of more is no frame but an attack on memory.
LONGEST = 16384
Resize = Literal["opencv", "antialiased"]


class Box(NamedTuple):
    """A part of a frame."""

    top: int
    left: int
    height: int
    width: int


def evaluate(frames: Frames, crop: int = 256, resize: Resize = "opencv") -> Clip:
    """uint8 [T, H, W, 3] → float32 [T, crop, crop, 3] as in Meta's evaluations."""
    return normalised(cropped(frames, crop, resize))


def cropped(frames: Frames, crop: int = 256, resize: Resize = "opencv") -> Frames:
    """uint8 [T, H, W, 3] → uint8 [T, crop, crop, 3]: short side int(crop · 256 / 224), its centre.

    `resize`: "opencv" is what arrays of decoded video go through, and bit for bit that;
    "antialiased" what tensors do, another picture (up to 0.5 apart once normalised).
    """
    short = _side(crop) * MARGIN[0] // MARGIN[1]
    resized = _short_side(_checked(frames), short, resize)
    height, width = resized.shape[1:3]
    # Python's round, half to even, as the original does it.
    top, left = round((height - crop) / 2), round((width - crop) / 2)
    return resized[:, top : top + crop, left : left + crop]


def views(frames: Frames, crop: int = 256, count: int = 3) -> Clip:
    """uint8 [T, H, W, 3] → [count, T, crop, crop, 3]: squares along the long side, evenly spread.

    Here the short side becomes `crop` itself, and the step is of whole pixels. Probes average
    their logits over the views.
    """
    if count < 1:
        raise SettingError(f"{count} views can't be cut: ask for at least 1")
    resized = _short_side(_checked(frames), _side(crop), "opencv")
    height, width = resized.shape[1:3]
    step = (max(height, width) - crop) // max(count - 1, 1)
    starts = [i * step for i in range(count)]
    if height >= width:
        cuts = [resized[:, start : start + crop] for start in starts]
    else:
        cuts = [resized[:, :, start : start + crop] for start in starts]
    return np.stack([normalised(cut) for cut in cuts])


def centred(frames: Frames, crop: int = 256, aspect: tuple[float, float] = SQUARE) -> Clip:
    """uint8 [T, H, W, 3] → [T, crop, crop, 3] as for the action-conditioned model.

    The greatest centre box whose width/height is within `aspect` is squeezed to a square by plain
    bilinear on floats (no antialias, no rounding), then (x − 255·mean)/(255·std).
    """
    _checked(frames)
    box = centre_box(frames.shape[1], frames.shape[2], aspect)
    cut = frames[:, box.top : box.top + box.height, box.left : box.left + box.width]
    pixels = cut.astype(np.float32)
    for axis in (1, 2):
        pixels = _between(pixels, axis, _side(crop))
    return (pixels - 255 * MEAN) / (255 * STD)


def centre_box(height: int, width: int, aspect: tuple[float, float]) -> Box:
    """The greatest box in the middle whose width/height is within `aspect`."""
    least, most = aspect
    if width / height < least:
        tall, wide = round(width / least), width
    elif width / height > most:
        tall, wide = height, round(height * most)
    else:
        tall, wide = height, width
    tall, wide = min(max(tall, 1), height), min(max(wide, 1), width)
    return Box((height - tall) // 2, (width - wide) // 2, tall, wide)


def normalised(frames: Frames) -> Clip:
    """uint8 [..., 3] → float32: (x/255 − mean)/std, in this order and precision."""
    return (frames.astype(np.float32) / np.float32(255) - MEAN) / STD


def bilinear(frames: Frames, height: int, width: int) -> Frames:
    """OpenCV's INTER_LINEAR on uint8 [T, H, W, 3], in its own integers: the same bits.

    Weights are of 11 bits. Across, the coordinate is clamped to the image; down, only the row
    numbers are and the fraction stays, as OpenCV's two passes do.
    """
    first, second, b0, b1 = _taps(frames.shape[1], height, clamp=False)
    left, right, a0, a1 = _taps(frames.shape[2], width, clamp=True)
    out = np.empty((len(frames), height, width, frames.shape[3]), np.uint8)
    for t, frame in enumerate(frames):  # one at a time: the sums are four times as wide
        pixels = frame.astype(np.int32)
        rows = (pixels[:, left] * a0[:, None] + pixels[:, right] * a1[:, None]) >> 4
        upper = (b0[:, None, None] * rows[first]) >> 16
        lower = (b1[:, None, None] * rows[second]) >> 16
        out[t] = np.clip((upper + lower + 2) >> 2, 0, 255)
    return out


def antialiased(frames: Frames, height: int, width: int) -> Frames:
    """A triangle as wide as the shrinkage on uint8 [T, H, W, 3], as for tensors; rounded."""
    down = _triangles(frames.shape[1], height)
    across = _triangles(frames.shape[2], width)
    out = np.empty((len(frames), height, width, frames.shape[3]), np.uint8)
    for t, frame in enumerate(frames):
        columns = np.tensordot(frame.astype(np.float32), across, (1, 1))  # [H, 3, width]
        out[t] = np.rint(np.tensordot(down, columns, (1, 0)).transpose(0, 2, 1))
    return out


def _checked(frames: Frames) -> Frames:
    """The frames, if they are some."""
    if frames.dtype != np.uint8:
        raise SettingError(f"frames are {frames.dtype}: give uint8, 0 to 255")
    if frames.ndim != 4 or frames.shape[3] != 3:
        raise SettingError(f"frames have the shape {frames.shape}: give [T, height, width, 3]")
    if min(frames.shape) == 0:
        raise SettingError(f"frames of the shape {frames.shape} have no pixels")
    if max(frames.shape[1:3]) > LONGEST:
        raise SettingError(f"frames of {frames.shape[2]}×{frames.shape[1]}: at most {LONGEST}")
    return frames


def _side(crop: int) -> int:
    if not 0 < crop <= LONGEST:
        raise SettingError(f"a crop of {crop} pixels can't be cut: give 1 to {LONGEST}")
    return crop


def _short_side(frames: Frames, short: int, resize: Resize) -> Frames:
    """The frames with this short side; the long one keeps the aspect, cut to whole pixels."""
    height, width = frames.shape[1:3]
    if min(height, width) == short:
        return frames
    long = int(short * max(height, width) / min(height, width))
    if long > LONGEST:
        raise SettingError(f"frames of {width}×{height} are too long for a crop: cut them first")
    way = bilinear if resize == "opencv" else antialiased
    return way(frames, long, short) if width < height else way(frames, short, long)


def _taps(size: int, wanted: int, *, clamp: bool) -> tuple[Ints, Ints, Ints, Ints]:
    """(first, second, weight of first, of second) of each wanted pixel."""
    at = np.float32((np.arange(wanted) + 0.5) * (size / wanted) - 0.5)
    low = np.floor(at).astype(np.int32)
    part = at - low.astype(np.float32)
    if clamp:
        part = np.where((low < 0) | (low >= size - 1), np.float32(0), part)
        low = np.clip(low, 0, size - 1)
    first, second = np.clip(low, 0, size - 1), np.clip(low + 1, 0, size - 1)
    weights = [np.rint(w * np.float32(2048)).astype(np.int32) for w in (np.float32(1) - part, part)]
    return first, second, weights[0], weights[1]


def _between(pixels: Clip, axis: int, wanted: int) -> Clip:
    """Plain bilinear along one axis."""
    size = pixels.shape[axis]
    at = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * np.float32(size / wanted)
    at = np.maximum(at - np.float32(0.5), np.float32(0))
    low = np.minimum(at.astype(np.int64), size - 1)
    shape = [1] * pixels.ndim
    shape[axis] = wanted
    part = (at - low).astype(np.float32).reshape(shape)
    high = np.minimum(low + 1, size - 1)
    out: Clip = np.take(pixels, low, axis) * (1 - part) + np.take(pixels, high, axis) * part
    return out


def _triangles(size: int, wanted: int) -> npt.NDArray[np.float32]:
    """[wanted, size]: the share of each pixel in each wanted one; rows sum to one."""
    scale = np.float32(size / wanted)
    half = np.float32(0.5)
    centre = scale * (np.arange(wanted, dtype=np.float32) + half)[:, None]
    away = np.abs(np.arange(size, dtype=np.float32) + half - centre) / max(scale, np.float32(1))
    weights = np.maximum(1 - away, 0)
    out: npt.NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return out
