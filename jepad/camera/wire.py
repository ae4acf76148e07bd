"""The records between a camera's process and those who ask it.

Owns: requests, replies, names of states and counts. Does not know sockets or codecs.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from jepad.worker import tongue

#: starting: the source was never open. running: frames come. waiting: the source is away and is
#: tried again. ended: a file is over, for good. failed: only a person can mend it.
CameraState = Literal["starting", "running", "waiting", "ended", "failed"]
#: decoded = published + dropped; dropped = thinned + late + unfit. packets that gave no frame were
#: skipped by the decoder or damaged.
COUNTS = (
    "packets",  # of video, read
    "decoded",
    "published",
    "dropped",
    "thinned",  # between two frames of the wanted rate
    "late",  # the source was ahead of us
    "unfit",  # too large, or not to be converted
    "damaged",  # packets the decoder refused
    "opens",  # times the source was opened
    "failures",  # times it could not be, or broke off
)


class Ping(tongue.Request, frozen=True):
    """Are you there?"""


class Look(tongue.Request, frozen=True):
    """How is the camera?"""


class Stop(tongue.Request, frozen=True):
    """Retire the streams and end."""


class Pong(tongue.Message, frozen=True):
    """The answer to Ping and Stop."""

    state: CameraState
    stuck_ms: Annotated[int, Meta(ge=0)] = 0  # how long one call to the decoder already takes


class Seen(tongue.Message, frozen=True):
    """The answer to Look."""

    name: str
    state: CameraState
    reason: str  # why it is waiting, failed or ended early; "" when all is well
    source: str  # without its password
    kind: str  # file, v4l2, rtsp, http, lavfi
    size: int  # of the published square
    fps: float  # wanted
    width: int  # of the source, 0 until known
    height: int
    rate: float  # of the source, 0 until known
    codec: str
    position_s: float  # in a file
    length_s: float  # of a file, 0 = unknown or endless
    behind_s: float
    counts: dict[str, int]
    filters: tuple[str, ...]  # in words, as they are in force
    filter_state: str  # "" | why the whole frame is pixelated instead
    present: bool
    presence: float
    surprise: float
    surprising: bool
    barriers: tuple[str, ...]  # of the sandbox, those that hold
    learned: bool = False


Request = Ping | Look | Stop
Reply = Pong | Seen | tongue.Refused
#: One tongue for all cameras; a socket is named camera-NAME.
TONGUE: tongue.Tongue[Request, Reply] = tongue.Tongue(
    "camera", Request, Reply, largest=1 << 12, largest_reply=1 << 16, waiting=16
)


def socket_name(name: str) -> str:
    """Of the camera's socket in the runtime directory, without .sock."""
    return f"camera-{name}"
