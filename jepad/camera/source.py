"""From what a person writes to what is opened: file:PATH, /dev/videoN, rtsp://, lavfi:GRAPH …

Owns: kinds of sources, their options and deadlines, what may be said of them aloud.
Does not know PyAV, nor what is inside.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from jepad.errors import SettingError

Kind = Literal["file", "v4l2", "rtsp", "http", "lavfi"]

#: A camera is asked for no more than this: the least that most have, and enough for any square.
DEVICE_SIZE = (640, 480)
OPEN_S, READ_S = 10.0, 10.0
_DEVICE = re.compile(r"/dev/(video\d{1,3}|v4l/by-(id|path)/[\w.:+-]{1,200})")
_SCHEMES: dict[str, tuple[Kind, str]] = {
    "rtsp": ("rtsp", "rtp,srtp,rtsp,udp,tcp"),
    "rtsps": ("rtsp", "rtp,srtp,rtsp,rtsps,udp,tcp,tls,crypto"),
    "http": ("http", "http,tcp,hls,crypto,data"),
    "https": ("http", "https,http,tcp,tls,hls,crypto,data"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """What is opened, and how."""

    kind: Kind
    url: str  # as PyAV takes it; of a file its path
    shown: str  # without a password
    format: str = ""  # of the container, "" = found out
    #: Tried in this order until one is accepted: a camera refuses what it can't do.
    options: tuple[dict[str, str], ...] = field(default=({},))

    @property
    def own_time(self) -> bool:
        """It gives frames as fast as they are asked for: we keep the time."""
        return self.kind in ("file", "lavfi")

    @property
    def networked(self) -> bool:
        """It needs the network."""
        return self.kind in ("rtsp", "http")


def source(spec: str, fps: float = 4.0) -> Source:
    """SettingError for what is no source."""
    scheme, colon, rest = spec.partition(":")
    if "\0" in spec:
        raise SettingError("a source can't hold a zero byte")
    if _DEVICE.fullmatch(spec):
        return Source("v4l2", spec, spec, "v4l2", _device_options(fps))
    if scheme == "file" and rest:
        path = os.path.abspath(rest)
        return Source("file", path, f"file:{path}", options=({"protocol_whitelist": "fd"},))
    if scheme == "lavfi" and rest:
        return Source("lavfi", rest, spec, "lavfi")
    if colon and scheme.lower() in _SCHEMES:
        return _network(spec, *_SCHEMES[scheme.lower()])
    raise SettingError(
        f"{hidden(spec)[:200]!r} is no source: give file:PATH, /dev/videoN, rtsp://…, http(s)://…"
        " or lavfi:GRAPH"
    )


def opened(path: str) -> int:
    """A descriptor of a regular file; SettingError says why not."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror}") from error
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode) and found.st_size:
        return file
    os.close(file)
    why = "is empty" if stat.S_ISREG(found.st_mode) else "is no regular file"
    raise SettingError(f"{path}: {why}")


def hidden(text: str) -> str:
    """Addresses in a text without their users and passwords."""
    return re.sub(r"(\w+://)[^/\s@]*@", r"\1", text)


def _network(spec: str, kind: Kind, protocols: str) -> Source:
    try:
        parts = urlsplit(spec)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise SettingError(f"{hidden(spec)[:200]!r} is no address: {error}") from error
    if not host:
        raise SettingError(f"{hidden(spec)[:200]!r} names no host")
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
    options = {"protocol_whitelist": protocols}
    if kind == "rtsp":
        # Over UDP a lost datagram is a torn picture, and a firewall often a silent one.
        options["rtsp_transport"] = "tcp"
    return Source(kind, spec, bare, options=(options,))


def _device_options(fps: float) -> tuple[dict[str, str], ...]:
    """A small picture at a low rate; else a small one; else what it has."""
    size = "{}x{}".format(*DEVICE_SIZE)
    rate = f"{max(fps, 5):g}"
    return {"video_size": size, "framerate": rate}, {"video_size": size}, {}
