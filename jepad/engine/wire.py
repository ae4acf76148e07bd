"""The records between the engine and those who ask it.

Owns: requests, replies, how an array travels, every limit on size. Does not know sockets or models.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from jepad.errors import EngineError
from jepad.worker import tongue

#: Larger messages are dropped by ZeroMQ itself, before they cost memory here.
MAX_MESSAGE_BYTES = 1 << 20
MAX_STEPS = 1024  # the newest 128 count
MAX_CHANNELS = 64
MAX_DT_S = 86_400.0
#: Actions of one question, and steps to the next one: as far as one run of the model sees.
MAX_ACTS = 4
MAX_AFTER = 64

Name = Annotated[str, Meta(max_length=255)]
Side = Annotated[int, Meta(ge=0, le=MAX_STEPS)]


class Array(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A float array, little-endian, C order."""

    shape: Annotated[tuple[Side, ...], Meta(max_length=4)]
    data: bytes
    kind: Literal["f4", "f8"] = "f4"


class Ping(tongue.Request, frozen=True):
    """Are you there, and how far have you come?"""


class Describe(tongue.Request, frozen=True):
    """What is forecast, how far ahead, by which model?"""


class Stats(tongue.Request, frozen=True):
    """Counters since the start."""


class Predict(tongue.Request, frozen=True):
    """Forecast any series: values [T, C], NaN for what is not known, oldest first."""

    values: Array
    dt_s: Annotated[float, Meta(gt=0, le=MAX_DT_S)]


class Embed(tongue.Request, frozen=True):
    """Embed a telemetry window: values [T, C] as gauges and rates, oldest first."""

    values: Array
    dt_s: Annotated[float, Meta(gt=0, le=MAX_DT_S)]


class Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One action of a question; kind "" = none, the forecast is only carried on."""

    kind: Name
    unit: Name = ""
    value: float = 0.0
    after: Annotated[int, Meta(ge=0, le=MAX_AFTER)] = 0  # steps since the one before


class Foresee(tongue.Request, frozen=True):
    """What would come if: values [T, C] as gauges and rates, oldest first, and C names."""

    values: Array
    series: Annotated[tuple[Name, ...], Meta(max_length=MAX_CHANNELS)]
    dt_s: Annotated[float, Meta(gt=0, le=MAX_DT_S)]
    acts: Annotated[tuple[Act, ...], Meta(min_length=1, max_length=MAX_ACTS)]


class Pong(tongue.Message, frozen=True):
    """Alive; the ring sequence of the newest sample a forecast was made from, -1 = none yet."""

    source_n: int
    state: str  # "waiting" for telemetry, "forecasting"


class Described(tongue.Message, frozen=True):
    """The engine's own account of itself."""

    model_digest: str
    series: tuple[str, ...]
    horizons_s: tuple[float, ...]
    context_steps: int
    model_every: int  # ticks between two runs of the model


class Counted(tongue.Message, frozen=True):
    """Counters and gauges by name."""

    values: dict[str, float]


class Predicted(tongue.Message, frozen=True):
    """quantiles [C, H, 3] in the units asked with; p_rise [C, H]."""

    quantiles: Array
    p_rise: Array
    horizons_s: tuple[float, ...]
    part: Literal["model", "baseline"]


class Embedded(tongue.Message, frozen=True):
    """[1+H, D]: row 0 the context, then one predicted embedding a horizon."""

    embedding: Array


class Foreseen(tongue.Message, frozen=True):
    """p10, p50 and p90 of C series at K moments, [C, K, 3]: without the actions, with them, and of
    the difference; in the units asked with."""

    without: Array
    acted: Array
    difference: Array
    horizons_s: tuple[float, ...]  # K
    usable: tuple[bool, ...]  # C; False = too few samples to say anything
    model_digest: str
    actions: tuple[str, ...]  # all kinds that the model knows


Refused = tongue.Refused
Request = Ping | Describe | Stats | Predict | Embed | Foresee
Reply = Pong | Described | Counted | Predicted | Embedded | Foreseen | Refused

TONGUE: tongue.Tongue[Request, Reply] = tongue.Tongue(
    "engine", Request, Reply, MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES
)
encode = tongue.encode
read_request = TONGUE.read_request
read_reply = TONGUE.read_reply


def pack(array: NDArray[np.floating]) -> Array:
    """float64 stays so, all else travels as float32."""
    kind: Literal["f4", "f8"] = "f8" if array.dtype == np.float64 else "f4"
    return Array(array.shape, np.ascontiguousarray(array, f"<{kind}").tobytes(), kind)


def unpack(array: Array) -> NDArray[np.floating]:
    """Read-only view of the bytes; EngineError if they are not of that shape."""
    dtype = np.dtype(f"<{array.kind}")
    if math.prod(array.shape) * dtype.itemsize != len(array.data):
        raise EngineError(f"array of shape {array.shape} came with {len(array.data)} bytes")
    return np.frombuffer(array.data, dtype).reshape(array.shape)


def doubles(array: Array) -> NDArray[np.float64]:
    """As unpack, whatever kind it came as."""
    return unpack(array).astype(np.float64)


def window(array: Array) -> NDArray[np.float64]:
    """The values of a request, checked: [C, T], finite or NaN."""
    values = unpack(array)
    if values.ndim != 2 or not values.size:
        raise EngineError(f"values must be [T, C] and not empty, got shape {array.shape}")
    if values.shape[1] > MAX_CHANNELS:
        raise EngineError(f"{values.shape[1]} channels are too many: at most {MAX_CHANNELS}")
    channels = np.array(values.T, np.float64, order="C")
    channels[np.isinf(channels)] = np.nan
    return channels
