"""What one camera is to do, as it comes to its process.

Owns: the record, its bounds, the file that carries it. Does not know who wrote it, nor codecs.
The file is its owner's alone (0600): an address may hold a password.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from jepad.errors import SettingError

FilterName = Literal["zones", "faces", "pixelate"]
#: Relative to the published square: (0, 0) its upper left corner, (1, 1) its lower right.
Point = tuple[Annotated[float, Meta(ge=0, le=1)], Annotated[float, Meta(ge=0, le=1)]]
#: A polygon; two points are opposite corners of a rectangle.
Zone = Annotated[tuple[Point, ...], Meta(min_length=2, max_length=64)]
#: A name is an element of a D-Bus path and of a stream's name.
NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,31}")
LONGEST = 1 << 16


class CameraSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of one camera; what is not said is the default."""

    #: file:PATH, /dev/videoN, rtsp://, http://, https://, lavfi:GRAPH
    source: Annotated[str, Meta(min_length=1, max_length=4096)]
    size: Annotated[int, Meta(ge=64, le=512, multiple_of=16)] = 224  # of the square, in pixels
    fps: Annotated[float, Meta(ge=0.1, le=60)] = 4.0
    loop: bool = False  # a file begins anew at its end
    fast: bool = False  # a file as fast as it can be decoded, not in its own time
    #: In the order of application, before anything is shared.
    filters: Annotated[tuple[FilterName, ...], Meta(max_length=3)] = ()
    zones: Annotated[tuple[Zone, ...], Meta(max_length=64)] = ()
    pixelate_block: Annotated[int, Meta(ge=2, le=256)] = 16  # pixels of the square
    faces_model: Annotated[str, Meta(max_length=4096)] = ""  # path of YuNet's ONNX file
    faces_sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    faces_hide: Literal["pixelate", "blur"] = "pixelate"
    faces_threshold: Annotated[float, Meta(gt=0, lt=1)] = 0.3
    faces_keep: Annotated[int, Meta(ge=0, le=240)] = 4  # frames a box stays after a miss
    #: Nothing older can be read.
    retention_min: Annotated[float, Meta(gt=0, le=1440)] = 10.0
    #: Records of the frames stream; a power of two, lowered where the retention asks for less.
    slots: Annotated[int, Meta(ge=4, le=1024)] = 64
    #: Who may read frames; "" = jepad-camera where there is such a group, else the owner's own.
    group: Annotated[str, Meta(max_length=64)] = ""


def parsed(text: bytes | str) -> CameraSettings:
    """From JSON; SettingError says which field is wrong."""
    try:
        return msgspec.json.decode(text, type=CameraSettings)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingError(f"the camera's settings can't be used: {error}") from error


def written(settings: CameraSettings) -> bytes:
    """As JSON, without what is the default."""
    default = CameraSettings(source=settings.source)
    fields = {
        name: value
        for name in CameraSettings.__struct_fields__
        if (value := getattr(settings, name)) != getattr(default, name) or name == "source"
    }
    return msgspec.json.format(msgspec.json.encode(fields))


def read(path: str) -> CameraSettings:
    """From a file of ours that nobody else can read or write; "-" is standard input."""
    if path == "-":
        return parsed(sys.stdin.buffer.read(LONGEST))
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(file, "rb") as opened:
            found = os.fstat(file)
            _check(path, found)
            return parsed(opened.read(LONGEST))
    except OSError as error:
        raise SettingError(f"{path}: can't read the settings: {error.strerror}") from error


def named(name: str) -> str:
    """The name, if it can be a camera's."""
    if not NAME.fullmatch(name):
        raise SettingError(
            f"{name!r} can't name a camera: give 1 to 32 of a-z, 0-9 and _, no _ first"
        )
    return name


def _check(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_uid not in (os.geteuid(), 0):
        raise SettingError(f"{path}: settings are a regular file of ours")
    if found.st_mode & 0o077:
        raise SettingError(f"{path}: others may read or write it: chmod 600 {path}")
