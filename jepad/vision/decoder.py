"""`python -m jepad.vision.decoder FD WANTED`: the child that decodes one file and can do no more.

Owns: PyAV, Pillow, limits on memory, time and files. Does not know paths: it gets an open file.
Codecs are large and written in C, and the files are anybody's: so they run where a fault costs
one child, that may open no file, start no process and hold no more than its share of memory.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from jepad.vision.decode import ABOUT, END, ERROR, FRAME, HEAD, LACKING, TIME, About, Wanted

MEMORY = 3 << 30
CPU_S = 3600
#: Containers that hold one still; Pillow reads those, with their orientation.
STILLS = ("_pipe", "image2")
PICTURES = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")
#: Demuxers of playlists would open what these name.
NOTHING_ELSE = {"protocol_whitelist": ""}
#: Headers often name a frame more than there is.
SPARE = 50


class Broken(Exception):
    """Words for the one who asked."""


def main() -> int:
    """Everything goes to stdout as messages, a fault too."""
    try:
        _run(int(sys.argv[1]), Wanted(**json.loads(sys.argv[2])))
    except BrokenPipeError:
        return 0  # whoever asked has enough
    except ImportError as error:
        _say(ERROR, f"{LACKING} {error.name or error}".encode())
    except (Broken, MemoryError) as error:
        _say(ERROR, f"broken {error or 'it needs too much memory'}".encode()[:4096])
    return 0


def _run(file: int, wanted: Wanted) -> None:
    import av

    av.logging.set_level(av.logging.PANIC)
    _rehearse()
    _confine(file)
    with os.fdopen(file, "rb") as source:
        try:
            container = av.open(source, options=NOTHING_ELSE)
        except (av.FFmpegError, ValueError) as error:
            _still(source, wanted, error)
            return
        if any(mark in container.format.name for mark in STILLS):
            _still(source, wanted, None)
            return
        if not container.streams.video:
            raise Broken("there is no video in it")
        _film(container, wanted)


def _rehearse() -> None:
    """Decode one pixel, so that what is imported on first use is before the doors close."""
    import av
    import av.subtitles.stream
    from PIL import Image, ImageOps

    Image.init()
    memory = io.BytesIO()
    Image.new("RGB", (1, 1)).save(memory, "GIF")
    memory.seek(0)
    for frame in av.open(memory, "r", options=NOTHING_ELSE).decode(video=0):
        frame.reformat(1, 1, "rgb24", interpolation="AREA").to_ndarray()
    ImageOps.exif_transpose(Image.open(memory)).convert("RGB")


def _confine(file: int) -> None:
    """From here on: no new file, no process, no core, so much memory and time."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    open_ones = (int(name) for name in os.listdir("/proc/self/fd"))
    for other in open_ones:
        if other > 2 and other != file:
            try:
                os.close(other)
            except OSError:
                continue  # the listing's own
    # Lower than the file's own number: what is open stays open, and nothing new can be.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def _still(source: Any, wanted: Wanted, unknown: Exception | None) -> None:
    """One picture; `unknown` is what is said if Pillow can't read it either."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    source.seek(0)
    try:
        with Image.open(source, formats=PICTURES) as opened:
            kind = opened.format or ""
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise Broken(f"no video or picture is in it: {_reason(unknown or error)}") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise Broken(f"the picture is truncated or corrupt: {error}") from error
    if wanted.short:
        width, height = _scaled(upright.width, upright.height, wanted.short)
        upright = upright.resize((width, height), Image.Resampling.BOX)
    pixels = np.asarray(upright)
    _about(About(kind, kind, pixels.shape[1], pixels.shape[0], 0.0, 1, still=True))
    _frame(0.0, pixels)
    _say(END, b"")


def _film(container: Any, wanted: Wanted) -> None:
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    frames = _decoded(container, stream)
    first = next(frames, None)
    if first is None:
        raise Broken("no frame of its video can be decoded: truncated or corrupt")
    turned = first[1].rotation % 180 == 90
    width, height = _scaled(first[1].width, first[1].height, wanted.short)
    shown = (height, width) if turned else (width, height)
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    codec = stream.codec_context.name
    expected = _expected(container, stream, wanted)
    _about(About(container.format.name, codec, *shown, rate, expected, still=False))
    for sent, (time_s, frame) in enumerate(_chosen(first, frames, wanted), 1):
        pixels = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
        _frame(time_s, np.rot90(pixels, frame.rotation // 90))
        if sent == wanted.count:
            break
    _say(END, b"")


def _chosen(first: Any, rest: Iterator[Any], wanted: Wanted) -> Iterator[tuple[float, Any]]:
    """Frames from start_s on, the first at or after each multiple of every_s."""
    due = wanted.start_s
    for time_s, frame in _both(first, rest):
        if time_s + 1e-6 >= due:
            yield time_s, frame
            missed = max(int((time_s - due) / wanted.every_s + 1e-6), 0) if wanted.every_s else 0
            due = due + (missed + 1) * wanted.every_s if wanted.every_s else time_s


def _both(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _decoded(container: Any, stream: Any) -> Iterator[tuple[float, Any]]:
    """(seconds from the first frame, frame); Broken where the file is damaged or cut short."""
    import av

    rate = float(stream.average_rate or stream.guessed_rate or 25)
    # AVI has a rate and no times: what is told instead is the order of decoding.
    timed = container.format.name != "avi"
    seen, begin, last = 0, 0.0, 0.0
    try:
        for frame in container.decode(stream):
            told = frame.time if timed and frame.time is not None else seen / rate
            begin = told if not seen else begin
            # Times that go back are a fault of the file; the order of the frames is not.
            last = max(told - begin, last)
            yield last, frame
            seen += 1
    except (av.FFmpegError, ValueError) as error:
        raise Broken(f"truncated or corrupt after {seen} frames: {_reason(error)}") from error
    if seen and stream.frames - seen > 1 + stream.frames // SPARE:
        raise Broken(f"truncated: {seen} of its {stream.frames} frames are there")


def _expected(container: Any, stream: Any, wanted: Wanted) -> int:
    """How many frames will come; 0 if the file doesn't say how long it is."""
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    length = (container.duration or 0) / 1e6
    total = stream.frames or round(length * rate)
    if not total or not rate:
        return 0
    left = max(total / rate - wanted.start_s, 0.0)
    step = max(wanted.every_s, 1 / rate)
    found = max(int(left / step + 1 - 1e-6), 1)
    return min(found, wanted.count) if wanted.count else found


def _scaled(width: int, height: int, short: int) -> tuple[int, int]:
    """The size with this short side, never larger than it is."""
    least = min(width, height)
    if not short or short >= least:
        return width, height
    return max(width * short // least, short), max(height * short // least, short)


def _reason(error: Exception) -> str:
    """The decoder's own last words if there are some, else the system's."""
    logged = getattr(error, "log", None)
    said = logged[2] if logged else getattr(error, "strerror", None) or error
    return str(said).strip()


def _about(about: About) -> None:
    from dataclasses import asdict

    _say(ABOUT, json.dumps(asdict(about)).encode())


def _frame(time_s: float, pixels: Any) -> None:
    _say(FRAME, TIME.pack(time_s) + np.ascontiguousarray(pixels).tobytes())


def _say(kind: bytes, content: bytes) -> None:
    view = memoryview(HEAD.pack(kind, len(content)) + content)
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    sys.exit(main())
