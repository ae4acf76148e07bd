"""PyAV, held at arm's length: what is open, its packets and frames, its faults in words.

Owns: opening within a deadline, the limits of one frame, decoding that goes on after damage.
Does not know when a frame is wanted, nor what becomes of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from jepad.camera.source import OPEN_S, READ_S, Source, hidden
from jepad.errors import JepadError

#: 8K; more is no camera but an attack on memory.
MOST_PIXELS = 8192 * 4320
#: Longer than so much the high, or higher than so much the long, has no centre worth looking at.
MOST_ASPECT = 8.0
#: Packets without a frame between them after which it is no video any more.
HOPELESS = 250
#: What PyAV raises over files that are no films, besides its own errors.
FAULTS = (ValueError, OSError, MemoryError, LookupError, ArithmeticError, TypeError)


class Lost(JepadError):
    """The source is away, or gives nothing that can be used; in words."""


class Facts(NamedTuple):
    """What the source says of itself."""

    width: int = 0
    height: int = 0
    rate: float = 0.0
    codec: str = ""
    length_s: float = 0.0  # 0 = unknown or endless
    timed: bool = True  # frames have times
    expected: int = 0  # frames, 0 = unknown
    expected_s: float = 0.0  # of its video alone, 0 = unknown


class Container:
    """An open source. For one thread."""

    def __init__(self, source: Source, file: int = -1) -> None:
        """Lost when it can't be opened. `file` is the descriptor of a file, read from its start."""
        self._container = _opened(source, file)
        try:
            self._stream = self._video()
        except BaseException:
            self._container.close()
            raise
        self.packets = 0
        self.damaged = 0

    def facts(self) -> Facts:
        """As far as known before the first frame."""
        stream, context = self._stream, self._stream.codec_context
        length_s = max((self._container.duration or 0) / 1e6, 0.0)
        alone = len(self._container.streams) == 1
        own_s = float(stream.duration * stream.time_base) if stream.duration else 0.0
        return Facts(
            width=context.width or 0,
            height=context.height or 0,
            rate=float(stream.average_rate or stream.guessed_rate or 0),
            codec=context.name,
            length_s=length_s,
            timed=self._container.format.name != "avi",
            expected=stream.frames or 0,
            expected_s=own_s or (length_s if alone else 0.0),
        )

    def skip(self, *, on: bool) -> None:
        """Leave frames out that no other is made from."""
        self._stream.codec_context.skip_frame = "NONREF" if on else "DEFAULT"

    def packages(self) -> Iterator[Any]:
        """Packets of video up to the end; Lost when it breaks off."""
        import av

        try:
            for packet in self._container.demux(self._stream):
                self.packets += bool(packet.size)
                yield packet
        except (av.FFmpegError, *FAULTS) as error:
            raise Lost(reason(error)) from error

    def frames(self, packet: Any) -> list[Any]:
        """What a packet gives; damage is counted, and too much of it is Lost."""
        import av

        try:
            got: list[Any] = packet.decode()
        except (av.FFmpegError, *FAULTS) as error:
            self.damaged += bool(packet.size)  # what is asked for at the end is no packet
            self._row += 1
            if self._row > HOPELESS:
                raise Lost(f"{self._row} packets in a row are damaged: {reason(error)}") from error
            return []
        self._row = 0 if got else self._row
        return got

    def close(self) -> None:
        """Let go of the source."""
        self._container.close()

    _row = 0

    def _video(self) -> Any:
        streams = self._container.streams.video
        if not streams:
            raise Lost("there is no video in it")
        stream = streams[0]
        context = stream.codec_context
        if context is None:
            raise Lost("its video is in a code that is not known here")
        context.thread_count = 1
        context.options = {"max_pixels": str(MOST_PIXELS)}
        return stream


def reason(error: BaseException) -> str:
    """The decoder's own last words if there are some, else the system's."""
    logged = getattr(error, "log", None)
    said = logged[2] if logged else getattr(error, "strerror", None) or error
    if isinstance(error, LookupError):
        return "its streams changed in the middle"  # PyAV counts them once
    if type(error).__name__ == "ExitError":
        return f"no answer within {READ_S:g} s"
    return hidden(str(said).strip())[:300] or type(error).__name__


def unusable(width: int, height: int) -> str:
    """Why frames of this size can't be used, or ""."""
    if width * height > MOST_PIXELS:
        return f"frames of {width}×{height} are too large"
    if max(width, height) > MOST_ASPECT * min(width, height):
        return f"frames of {width}×{height} are too narrow for a square"
    return ""


def _opened(source: Source, file: int) -> Any:
    import av

    last: Exception | None = None
    for options in source.options:
        url, more = source.url, dict(options)
        if source.kind == "file":
            os.lseek(file, 0, os.SEEK_SET)
            url, more["fd"] = "fd:", str(file)
        try:
            return av.open(
                url,
                "r",
                format=source.format or None,
                options=more,
                timeout=(OPEN_S, READ_S),
            )
        except (av.FFmpegError, *FAULTS) as error:
            last = error
    assert last is not None
    raise Lost(reason(last)) from last
