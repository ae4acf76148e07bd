"""Frames of a video file or a still picture, decoded in a child process that can do nothing else.

Owns: the child, the distrust of what it says, errors in words. Does not know codecs: the child
does (vision/decoder.py); this side imports neither PyAV nor Pillow.
"""

from __future__ import annotations

import json
import os
import select
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jepad.errors import NotFound, NotReady, SettingError

Picture = npt.NDArray[np.uint8]  # [H, W, 3], RGB

#: Kinds of messages: the facts, a frame, the end, a complaint.
ABOUT, FRAME, END, ERROR = b"A", b"F", b"E", b"X"
HEAD = struct.Struct("<cI")
TIME = struct.Struct("<d")
#: No frame is larger: 16384 × 4096, twice the pixels of 8K.
LARGEST = 16384 * 4096 * 3
WORDS = 1 << 16
PATIENCE_S = 60.0
#: The child says this when its imports fail.
LACKING = "lacking"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which frames; all of them unless said otherwise."""

    every_s: float = 0.0  # at least this far apart; V-JEPA 2 was trained at 0.25
    start_s: float = 0.0
    count: int = 0  # at most so many; 0 = no limit
    short: int = 0  # area-averaged to this short side by the decoder; 0 = as they are


@dataclass(frozen=True, slots=True)
class About:
    """What the file says of itself."""

    format: str
    codec: str
    width: int
    height: int
    rate: float  # frames a second, 0 = unknown or a still
    expected: int  # of the frames wanted, 0 = unknown
    still: bool


class Frame(NamedTuple):
    """One frame and its time in the file."""

    time_s: float
    pixels: Picture


class Reel:
    """`with Reel(path, Wanted(...)) as reel`: `reel.about`, then iterate over frames, once."""

    def __init__(self, path: str, wanted: Wanted | None = None) -> None:
        self._path = path
        self._file = _open(path)
        self._child: subprocess.Popen[bytes] | None = None
        self._wanted = wanted or Wanted()

    def __enter__(self) -> Reel:
        try:
            # -P: nothing of the directory we are in is imported.
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "jepad.vision.decoder", str(self._file),
                 json.dumps(asdict(self._wanted))],
                pass_fds=(self._file,), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, env=_environment(), bufsize=0,
            )  # fmt: skip
            kind, content = self._message()
            if kind != ABOUT:
                raise self._unusable("the decoder spoke out of turn")
            self.about = self._facts(content)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._close()

    def __iter__(self) -> Iterator[Frame]:
        """Frames in the order of their times; SettingError where the file is damaged."""
        size = self.about.width * self.about.height * 3
        while True:
            kind, content = self._message()
            if kind == END:
                return
            if kind != FRAME or len(content) != TIME.size + size:
                raise self._unusable("the decoder sent no frame of the size it named")
            pixels = np.frombuffer(content, np.uint8, offset=TIME.size)
            shaped = pixels.reshape(self.about.height, self.about.width, 3)
            yield Frame(TIME.unpack_from(content)[0], shaped)

    def _facts(self, content: bytes) -> About:
        try:
            about = About(**json.loads(content))
        except (ValueError, TypeError) as error:
            raise self._unusable("the decoder's words make no sense") from error
        sizes = (about.width, about.height, about.expected)
        if not all(type(n) is int for n in sizes) or min(sizes[:2]) < 1 or about.expected < 0:
            raise self._unusable("it has frames without a size")
        if about.width * about.height * 3 > LARGEST:
            raise self._unusable(f"frames of {about.width}×{about.height} are too large")
        return about

    def _message(self) -> tuple[bytes, bytes]:
        """The next one; a complaint is raised."""
        kind, size = HEAD.unpack(self._exactly(HEAD.size))
        if size > (LARGEST + TIME.size if kind == FRAME else WORDS):
            raise self._unusable("the decoder sent more than a frame")
        content = self._exactly(size)
        if kind != ERROR:
            return kind, bytes(content)
        word, _, why = content.decode("utf-8", "replace").partition(" ")
        if word == LACKING:
            raise NotReady(f"{why} is not installed: pip install 'jepad[video]'")
        raise self._unusable(why)

    def _exactly(self, size: int) -> bytearray:
        assert self._child is not None
        assert self._child.stdout is not None
        pipe = self._child.stdout.fileno()
        out = bytearray(size)
        view, at = memoryview(out), 0
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while at < size:
            if not poll.poll(PATIENCE_S * 1000):
                raise self._unusable(f"no frame within {PATIENCE_S:g} s of decoding")
            got = os.readv(pipe, [view[at:]])
            if not got:
                raise self._unusable(_end(self._child.wait()))
            at += got
        return out

    def _unusable(self, why: str) -> SettingError:
        return SettingError(f"{self._path}: {why}")

    def _close(self) -> None:
        os.close(self._file)
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            assert self._child.stdout is not None
            self._child.stdout.close()


def frames(path: str, wanted: Wanted | None = None) -> Iterator[Frame]:
    """The frames wanted of a video, or the one of a picture.

    NotFound, NotReady (no PyAV here), or SettingError: empty, no video in it, truncated, corrupt.
    """
    with Reel(path, wanted) as reel:
        yield from reel


def picture(path: str) -> Picture:
    """The still picture, or a video's first frame: uint8 [H, W, 3]. Errors as of frames()."""
    for frame in frames(path, Wanted(count=1)):
        return frame.pixels
    raise SettingError(f"{path}: there is no frame in it")


def _open(path: str) -> int:
    """The file, if it is one; never waits for the other end of a pipe."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NotFound(f"{path}: {why}") from error
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode) and found.st_size:
        return file
    os.close(file)
    why = "is empty" if stat.S_ISREG(found.st_mode) else "is no regular file"
    raise SettingError(f"{path}: {why}")


def _end(code: int) -> str:
    """How a child ended that said nothing."""
    if code == 0:
        return "the decoder ended too early"
    return f"the decoder gave up (signal {-code})" if code < 0 else f"the decoder failed ({code})"


def _environment() -> dict[str, str]:
    """Nothing of ours but what finds Python's modules, and one thread."""
    kept: dict[str, Any] = {
        name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ
    }
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
