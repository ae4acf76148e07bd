"""The records between the scene engine and those who ask it.

Owns: requests, replies, every limit on size. Does not know sockets or models.
Frames, embeddings and actions travel as raw parts beside the record; a `Blob` says what a part is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from jepad.errors import SettingError
from jepad.worker import tongue

#: Of one part: 64 frames of 384² pixels are 28 MB; tokens of ViT-g at 384/64f are 104 MB.
MAX_PART_BYTES, MAX_REPLY_BYTES = 64 << 20, 256 << 20
MAX_PARTS = 3
MAX_FRAMES, MAX_SIDE = 256, 2048
MAX_TOKENS = 1 << 16
MAX_AHEAD = 64
MAX_ACTIONS = 64  # numbers of one action, or of a state
MAX_HORIZON = 32
MAX_SAMPLES, MAX_ITERATIONS = 4096, 100
MAX_LANDSCAPE = 101
MAX_CLASSES = 1000
MAX_BOUNDS = 1 << 16
MAX_EVERY = 1024
MAX_SECONDS_AHEAD = 10

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Side = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
Number = Annotated[float, Meta(ge=-1e9, le=1e9)]
Vector = Annotated[tuple[Number, ...], Meta(max_length=MAX_ACTIONS)]
States = Annotated[tuple[Number, ...], Meta(max_length=MAX_ACTIONS * MAX_HORIZON)]
Kind = Literal["u1", "u4", "f4"]
_DTYPES: dict[str, np.dtype[Any]] = {
    "u1": np.dtype("u1"),
    "u4": np.dtype("<u4"),
    "f4": np.dtype("<f4"),
}


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of a message."""


class Blob(_Record, frozen=True, tag=True):
    """A raw part: little-endian, C order."""

    shape: Annotated[tuple[Side, ...], Meta(min_length=1, max_length=4)]
    kind: Kind
    part: Annotated[int, Meta(ge=0, lt=MAX_PARTS)]


class Streamed(_Record, frozen=True, tag=True):
    """Frames that lie in a stream of this machine: `count` of them, the last is number `n`."""

    stream: Name
    n: Annotated[int, Meta(ge=-1)] = -1  # -1 = the newest
    count: Annotated[int, Meta(ge=1, le=MAX_FRAMES)] = 1


#: uint8 [T, H, W, 3] RGB.
Clip = Blob | Streamed


class Ping(tongue.Request, frozen=True):
    """Are you there, and how far have you come?"""


class Describe(tongue.Request, frozen=True):
    """Which model, where, how large?"""


class Stats(tongue.Request, frozen=True):
    """Counters since the start."""


class EmbedFrames(tongue.Request, frozen=True):
    """Tokens of a clip; `keep` u4 [K]: only these are encoded, the rest is dropped before.
    `classes`: so many of the most probable ones, of a model with a probe."""

    frames: Clip
    keep: Blob | None = None
    pool: Literal["tokens", "mean"] = "tokens"
    classes: Annotated[int, Meta(ge=0, le=MAX_CLASSES)] = 0


class PredictTemporal(tongue.Request, frozen=True):
    """Tokens of the `ahead` steps (tubelets) that follow a clip."""

    frames: Clip
    ahead: Annotated[int, Meta(ge=1, le=MAX_AHEAD)] = 1
    pool: Literal["tokens", "mean"] = "tokens"


class PredictAction(tongue.Request, frozen=True):
    """What follows the last of F frames if actions, f4 [H, A], are taken in the state it shows.

    The frames before it are its past: `state` is then of every frame, [F * S] one after another,
    and the F - 1 actions that led from frame to frame come first in `actions` [F - 1 + H, A].
    """

    frames: Clip
    state: States
    actions: Blob


class Search(_Record, frozen=True):
    """How a plan is looked for; the defaults are Meta's."""

    samples: Annotated[int, Meta(ge=2, le=MAX_SAMPLES)] = 400
    elites: Annotated[int, Meta(ge=2, le=MAX_SAMPLES)] = 10
    iterations: Annotated[int, Meta(ge=1, le=MAX_ITERATIONS)] = 10
    horizon: Annotated[int, Meta(ge=1, le=MAX_HORIZON)] = 2
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.15
    seed: Annotated[int, Meta(ge=0, lt=1 << 32)] = 0
    landscape: Annotated[int, Meta(ge=0, le=MAX_LANDSCAPE)] = 0  # points a side; 0 = none


class PlanStart(tongue.Request, frozen=True):
    """Look for the action that leads from the last of `frames` towards the goal: frames of it
    (the last counts), or its embedding f4 [K, D]. `bounds`: a name, or JSON; "" = the model's."""

    frames: Clip
    goal: Clip
    state: Vector
    bounds: Annotated[str, Meta(max_length=MAX_BOUNDS)] = ""
    search: Search = Search()


class JobStatus(tongue.Request, frozen=True):
    """How far is it?"""

    job: Name


class JobCancel(tongue.Request, frozen=True):
    """Stop it after the present iteration."""

    job: Name


class Watched(_Record, frozen=True):
    """A stream of frames, "frames.NAME", that is followed into embeddings.NAME."""

    stream: Name
    gate: Annotated[str, Meta(max_length=255)] = ""  # stream that says what moves; "" = all does
    #: Embed each so many tubelets; 2-AC: frames.
    every: Annotated[int, Meta(ge=1, le=MAX_EVERY)] = 1
    window: Annotated[int, Meta(ge=0, le=MAX_FRAMES)] = 0  # frames; 0 = as the model was trained
    refresh_s: Annotated[float, Meta(gt=0, le=86400)] = 30  # at the latest, though all is still
    retention_s: Annotated[float, Meta(ge=1, le=86400)] = 600  # no record can be read for longer
    #: So many seconds are predicted into predictions.NAME; 0 = none.
    ahead_s: Annotated[int, Meta(ge=0, le=MAX_SECONDS_AHEAD)] = 0


class Follow(tongue.Request, frozen=True):
    """Embed a stream as it comes, until it is retired; again with the same = how is it?"""

    watched: Watched


class Unfollow(tongue.Request, frozen=True):
    """No more of it: its embeddings are wiped."""

    stream: Name


class Followed(tongue.Request, frozen=True):
    """How is it?"""

    stream: Name


class Pong(tongue.Message, frozen=True):
    """Alive."""

    device: str
    busy_ms: int  # how long the present run takes already; 0 = none
    waiting: int  # calls and jobs
    free_bytes: int  # of the device, when last looked at


class Accuracy(_Record, frozen=True):
    """What a precision is worth beside fp32, as the gate measured it."""

    pooled: float  # least cosine of a clip's mean token
    worst: float  # of any token
    passed: bool
    agreement: float | None = None  # share of plans with the same choice
    tokens: int = 0  # that were compared


def accuracy(gate: Mapping[str, Any]) -> Accuracy | None:
    """Out of a manifest's figures; None: never measured, or not in these words."""
    known = {name: gate[name] for name in Accuracy.__struct_fields__ if name in gate}
    try:
        return msgspec.convert(known, Accuracy)
    except msgspec.ValidationError:
        return None


class Described(tongue.Message, frozen=True):
    """The engine's account of itself."""

    model: str  # its name
    version: str
    digest: str
    device: str
    precision: str
    size: int  # pixels a side
    frames: int  # of a clip as it was trained on
    tubelet: int
    patch: int
    width: int  # of a token
    parts: tuple[str, ...]  # "encoder", "predictor", "action", "probe"
    actions: int  # numbers of an action; 0 = no action predictor
    states: int
    resident_bytes: int
    random: bool | None  # weights nobody trained; None = unknown
    reason: str = ""  # why it is not where it was asked to be
    accuracy: Accuracy | None = None  # of this precision; None = never measured
    classes: int = 0  # that its probe knows
    image: bool = False  # one frame is a picture to it, not a clip cut short


class Counted(tongue.Message, frozen=True):
    """Counters and gauges by name."""

    values: dict[str, float]


class Tokens(tongue.Message, frozen=True):
    """values f4: [K, D], pooled [D]; for actions [H, K, D] and the states [H, S]."""

    values: Blob
    grid: tuple[int, int, int]  # steps, rows, columns of what `values` covers
    digest: str
    device: str
    cached: bool = False
    states: Blob | None = None
    classes: tuple[int, ...] = ()  # by number, the most probable first
    probabilities: tuple[float, ...] = ()  # of these


class JobStarted(tongue.Message, frozen=True):
    """Ask for its status with this."""

    job: str


class Landscape(_Record, frozen=True):
    """Energy over two components of the first action, the rest as planned."""

    energies: tuple[tuple[float, ...], ...]  # [n][n]: rows along axes[0]
    axes: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class Planned(_Record, frozen=True):
    """A plan: the action to take now, and the distribution it came from, [H][A]."""

    action: tuple[float, ...]
    mean: tuple[tuple[float, ...], ...]
    std: tuple[tuple[float, ...], ...]
    names: tuple[str, ...]
    energy: float  # of the mean
    energy_start: float  # distance of the start itself
    bounds: str  # JSON
    digest: str
    device: str
    landscape: Landscape | None = None


class JobState(tongue.Message, frozen=True):
    """Of a plan; `energies`: the best after each iteration."""

    job: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    done: int
    total: int
    energies: tuple[float, ...] = ()
    result: Planned | None = None
    error: tuple[str, str] = ("", "")  # bus name, message


class Following(tongue.Message, frozen=True):
    """Of a stream that is followed, or was until now."""

    stream: str
    embeddings: str
    predictions: str  # "" = none
    state: Literal["running", "waiting", "ended", "failed"]
    reason: str  # of a state other than running, or the last trouble
    learned: bool  # by weights that somebody trained
    surprise: Literal["predicted", "usual"]
    why: str  # surprise is not "predicted"
    newest: int  # frame that the newest embedding is of; -1 = none yet
    counts: dict[str, float]


Refused = tongue.Refused
Request = (
    Ping | Describe | Stats | EmbedFrames | PredictTemporal | PredictAction
    | PlanStart | JobStatus | JobCancel | Follow | Unfollow | Followed
)  # fmt: skip
Reply = Pong | Described | Counted | Tokens | JobStarted | JobState | Following | Refused

TONGUE: tongue.Tongue[Request, Reply] = tongue.Tongue(
    "scene", Request, Reply, MAX_PART_BYTES, MAX_REPLY_BYTES, MAX_PARTS, waiting=16
)


def pack(array: NDArray[Any], part: int) -> tuple[Blob, memoryview]:
    """An array as what a message says of it, and the raw part with that number: no copy where it
    lies as it travels."""
    kind: Kind = "u1" if array.dtype == np.uint8 else "u4" if array.dtype.kind in "iu" else "f4"
    laid = np.ascontiguousarray(array, _DTYPES[kind])
    return Blob(array.shape, kind, part), laid.data.cast("B").toreadonly()


def unpack(blob: Blob, parts: Sequence[bytes]) -> NDArray[Any]:
    """Read-only view of its part. SettingError: no such part, or another size than it says."""
    if blob.part >= len(parts):
        raise SettingError(f"part {blob.part} is missing: {len(parts)} came")
    dtype, data = _DTYPES[blob.kind], parts[blob.part]
    if math.prod(blob.shape) * dtype.itemsize != len(data):
        raise SettingError(f"an array of shape {blob.shape} came with {len(data)} bytes")
    array: NDArray[Any] = np.frombuffer(data, dtype).reshape(blob.shape)
    return array


def frames_of(blob: Blob, parts: Sequence[bytes]) -> NDArray[np.uint8]:
    """uint8 [T, H, W, 3]; SettingError says what is wrong with it."""
    array = unpack(blob, parts)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise SettingError(f"frames are uint8 [T, H, W, 3], not {array.dtype} {blob.shape}")
    if array.shape[0] > MAX_FRAMES or max(array.shape[1:3]) > MAX_SIDE:
        raise SettingError(
            f"frames of shape {blob.shape}: at most {MAX_FRAMES} of {MAX_SIDE}×{MAX_SIDE}"
        )
    return array


def floats_of(blob: Blob, parts: Sequence[bytes], shape: str) -> NDArray[np.float32]:
    """f4, finite, with as many dimensions as `shape` names, such as "H A"."""
    array = unpack(blob, parts)
    if array.dtype != np.float32 or array.ndim != len(shape.split()):
        raise SettingError(f"float32 [{shape}] is wanted, not {array.dtype} {blob.shape}")
    if not np.isfinite(array).all():
        raise SettingError(f"[{shape}] holds values that are not finite")
    return array
