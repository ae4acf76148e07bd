"""The records between the engine and those who ask it, as msgpack over ZeroMQ.

Owns: requests, replies, how an array travels, every limit on size. Does not know sockets or models.
A request carries an absolute CLOCK_MONOTONIC deadline: both ends live on one host.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from jepad.errors import EngineError

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


class _Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    id: Annotated[int, Meta(ge=0)]


class _Request(_Message, frozen=True):
    deadline_ns: Annotated[int, Meta(ge=0)]


class Ping(_Request, frozen=True):
    """Are you there, and how far have you come?"""


class Describe(_Request, frozen=True):
    """What is forecast, how far ahead, by which model?"""


class Stats(_Request, frozen=True):
    """Counters since the start."""


class Predict(_Request, frozen=True):
    """Forecast any series: values [T, C], NaN for what is not known, oldest first."""

    values: Array
    dt_s: Annotated[float, Meta(gt=0, le=MAX_DT_S)]


class Embed(_Request, frozen=True):
    """Embed a telemetry window: values [T, C] as gauges and rates, oldest first."""

    values: Array
    dt_s: Annotated[float, Meta(gt=0, le=MAX_DT_S)]


class Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One action of a question; kind "" = none, the forecast is only carried on."""

    kind: Name
    unit: Name = ""
    value: float = 0.0
    after: Annotated[int, Meta(ge=0, le=MAX_AFTER)] = 0  # steps since the one before


class Foresee(_Request, frozen=True):
    """What would come if: values [T, C] as gauges and rates, oldest first, and C names."""

    values: Array
    series: Annotated[tuple[Name, ...], Meta(max_length=MAX_CHANNELS)]
    dt_s: Annotated[float, Meta(gt=0, le=MAX_DT_S)]
    acts: Annotated[tuple[Act, ...], Meta(min_length=1, max_length=MAX_ACTS)]


class Pong(_Message, frozen=True):
    """Alive; the ring sequence of the newest sample a forecast was made from, -1 = none yet."""

    source_n: int
    state: str  # "waiting" for telemetry, "forecasting"


class Described(_Message, frozen=True):
    """The engine's own account of itself."""

    model_digest: str
    series: tuple[str, ...]
    horizons_s: tuple[float, ...]
    context_steps: int
    model_every: int  # ticks between two runs of the model


class Counted(_Message, frozen=True):
    """Counters and gauges by name."""

    values: dict[str, float]


class Predicted(_Message, frozen=True):
    """quantiles [C, H, 3] in the units asked with; p_rise [C, H]."""

    quantiles: Array
    p_rise: Array
    horizons_s: tuple[float, ...]
    part: Literal["model", "baseline"]


class Embedded(_Message, frozen=True):
    """[1+H, D]: row 0 the context, then one predicted embedding a horizon."""

    embedding: Array


class Foreseen(_Message, frozen=True):
    """p10, p50 and p90 of C series at K moments, [C, K, 3]: without the actions, with them, and of
    the difference; in the units asked with."""

    without: Array
    acted: Array
    difference: Array
    horizons_s: tuple[float, ...]  # K
    usable: tuple[bool, ...]  # C; False = too few samples to say anything
    model_digest: str
    actions: tuple[str, ...]  # all kinds that the model knows


class Refused(_Message, frozen=True):
    """Why there is no answer; bus_name is that of the JepadError."""

    bus_name: str
    message: str


Request = Ping | Describe | Stats | Predict | Embed | Foresee
Reply = Pong | Described | Counted | Predicted | Embedded | Foreseen | Refused

_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder(Request)
_replies = msgspec.msgpack.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """As bytes for the socket."""
    return _encoder.encode(message)


def read_request(payload: bytes) -> Request:
    """EngineError on anything that is not a request of ours."""
    try:
        request: Request = _requests.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise EngineError(f"not a request: {error}") from error
    return request


def read_reply(payload: bytes) -> Reply:
    """EngineError on anything that is not a reply of ours."""
    try:
        reply: Reply = _replies.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise EngineError(f"not a reply: {error}") from error
    return reply


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
