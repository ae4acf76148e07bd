"""`jepactl embed`: a video as a model of pictures sees it, window by window.

Owns: which frames make a window, the figures of each. Does not know: who runs the model.
"""

from __future__ import annotations

import contextlib
import os
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jepad.cli import output
from jepad.cli.progress import Bar
from jepad.cli.video import scenes
from jepad.cli.video.scenes import Floats, Frames, Scene
from jepad.errors import NotFound, SettingError
from jepad.vision import preprocess
from jepad.vision.decode import Reel, Wanted

#: The engine takes no frame that is wider or higher, and no more bytes at once.
MOST_SIDE, MOST_BYTES = 2048, 48 << 20
MOST_FRAMES = 256


@dataclass(frozen=True, slots=True)
class Window:
    """Some frames in a row, and what became of them."""

    from_s: float
    to_s: float
    frames: int
    norm: float  # of the mean of its tokens
    change: float | None  # 1 - cosine to the window before


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames on their way to the model."""

    times: tuple[float, ...]
    pixels: Frames


def run(options: Namespace) -> int:
    """The verb."""
    with contextlib.ExitStack() as stack:
        reel = stack.enter_context(Reel(options.video, Wanted(every_s=options.every)))
        sink = stack.enter_context(_sink(options.out))
        scene = stack.enter_context(scenes.opened(options.bus, options.model))
        bar = stack.enter_context(Bar())
        windows, embeddings = _embedded(scene, reel, options, bar)
        np.save(sink, embeddings, allow_pickle=False)
    shape = list(embeddings.shape)
    if options.json:
        about = {key: value for key, value in asdict(scene.about).items() if key != "name"}
        output.say_json({
            "video": options.video, "model": scene.about.name, **about, "every_s": options.every,
            "windows": [asdict(window) for window in windows], "shape": shape, "out": options.out,
        })  # fmt: skip
        return 0
    _show(options, scene, windows, shape)
    return 0


def _embedded(
    scene: Scene, reel: Reel, options: Namespace, bar: Bar
) -> tuple[list[Window], Floats]:
    windows: list[Window] = []
    parts: list[Floats] = []
    before: Floats | None = None
    seen = 0
    for clip in _clips(reel, scene.about, options.window or scene.about.frames):
        words = f"{seen} frames, {len(windows)} windows"
        bar.show(seen, reel.about.expected, words)
        values = scene.embed(clip.pixels, "tokens" if options.tokens else "mean")
        mean = values.mean(0) if options.tokens else values
        windows.append(_window(clip, mean, before))
        parts.append(values)
        before, seen = mean, seen + len(clip.times)
    if not parts:
        raise SettingError(f"{options.video}: there is no frame in it")
    return windows, np.concatenate(parts) if options.tokens else np.stack(parts)


def _clips(reel: Reel, about: scenes.About, count: int) -> Iterator[Clip]:
    """Windows of `count` frames as the model takes them; the last one may be shorter."""
    if count > MOST_FRAMES:
        raise SettingError(f"a window of {count} frames: at most {MOST_FRAMES}")
    times: list[float] = []
    frames: list[Frames] = []
    for frame in reel:
        times.append(frame.time_s)
        frames.append(_prepared(frame.pixels[None], about))
        full = sum(part.nbytes for part in frames) + frames[-1].nbytes > MOST_BYTES
        if len(frames) == count or (about.alone and full):
            yield _clip(times, frames, about)
            times, frames = [], []
    if frames:
        yield _clip(times, frames, about)


def _prepared(frame: Frames, about: scenes.About) -> Frames:
    """A frame at the size at which it can be sent: what the model does next changes nothing."""
    if not about.alone:
        return preprocess.cropped(frame, about.size)
    box = preprocess.centre_box(frame.shape[1], frame.shape[2], preprocess.SQUARE)
    square = frame[:, box.top : box.top + box.height, box.left : box.left + box.width]
    if box.height > MOST_SIDE:
        square = preprocess.bilinear(square, MOST_SIDE, MOST_SIDE)
    return square


def _clip(times: list[float], frames: list[Frames], about: scenes.About) -> Clip:
    """The last frame is repeated where a tubelet wants one more."""
    odd = 0 if about.alone else -len(frames) % about.tubelet
    return Clip(tuple(times), np.concatenate(frames + frames[-1:] * odd))


def _window(clip: Clip, mean: Floats, before: Floats | None) -> Window:
    norm = float(np.linalg.norm(mean))
    change = None
    if before is not None:
        lengths = norm * float(np.linalg.norm(before))
        change = 1 - float(mean @ before) / lengths if lengths else None
    return Window(clip.times[0], clip.times[-1], len(clip.times), norm, change)


@contextlib.contextmanager
def _sink(path: str | None) -> Iterator[Any]:
    """Where the array goes: a file that is there whole or not at all, or nowhere.

    Opened first: what can't be written is known before the work and not after.
    """
    if path is None:
        with open(os.devnull, "wb") as nowhere:
            yield nowhere
        return
    part = f"{path}.{os.getpid()}.part"
    try:
        with open(part, "wb") as file:
            yield file
        os.replace(part, path)
    except OSError as error:
        raise NotFound(f"{path}: can't be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def _show(options: Namespace, scene: Scene, windows: list[Window], shape: list[int]) -> None:
    rows = [("FROM", "TO", "FRAMES", "NORM", "CHANGE")]
    for w in windows:
        change = "—" if w.change is None else f"{w.change:.4f}"
        times = (f"{w.from_s:.2f}s", f"{w.to_s:.2f}s")
        rows.append((*times, str(w.frames), f"{w.norm:.4g}", change))
    for line in output.table(rows, left=0):
        output.say(line)
    about = scene.about
    kept = f", in {options.out}" if options.out else ""
    output.say(
        f"{' × '.join(map(str, shape))} float32{kept}; V-JEPA {about.version.upper()} model"
        f" {output.plain(about.name)} {about.digest[:12]} on {about.device}, {about.where}"
    )
    if about.random:
        output.note("its weights are random: the figures say nothing about the video")
