"""What a caller may pass: names, horizons, sizes. Checked before anything else sees it.

Owns: the bounds. Does not know: what exists on this machine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from jepad.errors import SettingError

MAX_NAME = 255
MAX_HORIZON_US = 30 * 86400 * 1_000_000
MAX_OPTIONS = 16
MAX_STEPS = 4096
MAX_SERIES = 4096
MAX_WINDOW_BYTES = 4 << 20
MAX_FRAMES, MAX_SIDE = 256, 2048
MAX_FRAMES_BYTES = 64 << 20
_NAME = re.compile(r"[A-Za-z0-9_.:@/*?\[\]!\\+%-]+")


def name(text: str, what: str) -> str:
    """A domain, series, pattern or stream: short, and of harmless characters."""
    if not 0 < len(text) <= MAX_NAME or not _NAME.fullmatch(text):
        raise SettingError(
            f"{what} {_shown(text)}: use 1 to {MAX_NAME} letters, digits or ._:@/*?[]"
        )
    return text


def horizon_us(value: int) -> int:
    """A time ahead in microseconds; 0 asks for the nearest."""
    if not 0 <= value <= MAX_HORIZON_US:
        raise SettingError(f"horizon of {value} us: use 0 to {MAX_HORIZON_US} (30 days)")
    return value


def options(given: Mapping[str, object]) -> dict[str, object]:
    """A call's a{sv}: few, with names that are names."""
    if len(given) > MAX_OPTIONS:
        raise SettingError(f"{len(given)} options: at most {MAX_OPTIONS}")
    return {name(key, "option"): value for key, value in given.items()}


def window_shape(shape: Sequence[int]) -> tuple[int, int]:
    """[T, C] of a window to embed."""
    if len(shape) != 2 or not (0 < shape[0] <= MAX_STEPS and 0 < shape[1] <= MAX_SERIES):
        text = "x".join(str(n) for n in shape[:4])
        raise SettingError(f"window of shape {text}: use [T <= {MAX_STEPS}, C <= {MAX_SERIES}]")
    return shape[0], shape[1]


def frames_shape(shape: Sequence[int]) -> None:
    """[T, H, W, 3] of a clip."""
    sides = [0 < side <= MAX_SIDE for side in shape[1:3]]
    if len(shape) != 4 or not (0 < shape[0] <= MAX_FRAMES and all(sides) and shape[3] == 3):
        text = "x".join(str(n) for n in shape[:5])
        raise SettingError(
            f"frames of shape {text}: use [T <= {MAX_FRAMES}, H and W <= {MAX_SIDE}, 3]"
        )


def interval_s(value: object) -> float:
    """Seconds between two rows of a window."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise SettingError("dt_s: use a number of seconds")
    if not math.isfinite(value) or not 0.01 <= value <= 86400:
        raise SettingError(f"dt_s of {value:g}: use 0.01 to 86400 seconds")
    return float(value)


def names(value: object, what: str) -> list[str]:
    """A list of series names."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SettingError(f"{what}: use a list of names")
    return [name(item, what) for item in value]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
