"""`jepactl embed`: a video as a model of pictures sees it, window by window.

Owns: which frames make a window, the figures of each. Does not know: who runs the model.
"""

from __future__ import annotations

import contextlib
import os
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
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
MOST_CLASSES = 5
#: Of a file of labels, far more than any has.
MOST_LABELS = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Named:
    """What a window may show."""

    number: int
    probability: float
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Some frames in a row, and what became of them."""

    from_s: float
    to_s: float
    frames: int
    norm: float  # of the mean of its tokens
    change: float | None  # 1 - cosine to the window before
    classes: tuple[Named, ...] = ()  # the likeliest first


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames on their way to the model."""

    times: tuple[float, ...]
    pixels: Frames


def run(options: Namespace) -> int:
    """The verb."""
    labels = _labels(options.labels)
    options.classes = options.classes or options.labels is not None
    with contextlib.ExitStack() as stack:
        reel = stack.enter_context(Reel(options.video, Wanted(every_s=options.every)))
        sink = stack.enter_context(_sink(options.out))
        scene = stack.enter_context(scenes.opened(options.bus, options.model))
        bar = stack.enter_context(Bar())
        windows, embeddings = _embedded(scene, reel, options, bar)
        windows = [_labelled(window, labels) for window in windows]
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
        pool, classes = "tokens" if options.tokens else "mean", MOST_CLASSES * options.classes
        found = scene.embed(clip.pixels, pool, classes)
        values = found.values
        mean = values.mean(0) if options.tokens else values
        known = tuple(Named(*each) for each in found.classes)
        windows.append(replace(_window(clip, mean, before), classes=known))
        parts.append(values)
        before, seen = mean, seen + len(clip.times)
    if not parts:
        raise SettingError(f"{options.video}: there is no frame in it")
    return windows, np.concatenate(parts) if options.tokens else np.stack(parts)


def _clips(reel: Reel, about: scenes.About, count: int) -> Iterator[Clip]:
    """Windows of `count` frames as the model takes them; the last one may be shorter. A frame that
    is all there is, or all that was wished for, is a picture to a model that knows pictures."""
    if count > MOST_FRAMES:
        raise SettingError(f"a window of {count} frames: at most {MOST_FRAMES}")
    times: list[float] = []
    frames: list[Frames] = []
    first = True
    for frame in reel:
        times.append(frame.time_s)
        frames.append(_prepared(frame.pixels[None], about))
        full = sum(part.nbytes for part in frames) + frames[-1].nbytes > MOST_BYTES
        if len(frames) == count or (about.alone and full):
            yield _clip(times, frames, about, about.image and count == 1)
            times, frames, first = [], [], False
    if frames:
        yield _clip(times, frames, about, about.image and first and len(frames) == 1)


def _prepared(frame: Frames, about: scenes.About) -> Frames:
    """A frame at the size at which it can be sent: what the model does next changes nothing."""
    if not about.alone:
        return preprocess.cropped(frame, about.size)
    box = preprocess.centre_box(frame.shape[1], frame.shape[2], preprocess.SQUARE)
    square = frame[:, box.top : box.top + box.height, box.left : box.left + box.width]
    if box.height > MOST_SIDE:
        square = preprocess.bilinear(square, MOST_SIDE, MOST_SIDE)
    return square


def _clip(times: list[float], frames: list[Frames], about: scenes.About, picture: bool) -> Clip:
    """The last frame is repeated where a tubelet wants one more, but for a picture."""
    odd = 0 if about.alone or picture else -len(frames) % about.tubelet
    return Clip(tuple(times), np.concatenate(frames + frames[-1:] * odd))


def _window(clip: Clip, mean: Floats, before: Floats | None) -> Window:
    norm = float(np.linalg.norm(mean))
    change = None
    if before is not None:
        lengths = norm * float(np.linalg.norm(before))
        change = 1 - float(mean @ before) / lengths if lengths else None
    return Window(clip.times[0], clip.times[-1], len(clip.times), norm, change)


def _labels(path: str | None) -> list[str]:
    """A line a class, the first that of class 0. NotFound, SettingError: what is wrong with it."""
    if path is None:
        return []
    try:
        with open(path, "rb") as file:
            return file.read(MOST_LABELS).decode().splitlines()
    except OSError as error:
        raise NotFound(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"{path}: is no text in UTF-8: give a line a class") from error


def _labelled(window: Window, labels: list[str]) -> Window:
    named = [replace(each, label=labels[each.number]) if each.number < len(labels) else each
             for each in window.classes]  # fmt: skip
    return replace(window, classes=tuple(named))


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
    for line in _classes(windows) if options.classes else _figures(windows):
        output.say(line)
    about = scene.about
    kept = f", in {options.out}" if options.out else ""
    output.say(
        f"{' × '.join(map(str, shape))} float32{kept}; V-JEPA {about.version.upper()} model"
        f" {output.plain(about.name)} {about.digest[:12]} on {about.device}, {about.where}"
    )
    if about.random:
        output.note("its weights are random: the figures say nothing about the video")


def _figures(windows: list[Window]) -> list[str]:
    rows = [("FROM", "TO", "FRAMES", "NORM", "CHANGE")]
    for w in windows:
        change = "—" if w.change is None else f"{w.change:.4f}"
        rows.append((*_times(w), str(w.frames), f"{w.norm:.4g}", change))
    return list(output.table(rows, left=0))


def _classes(windows: list[Window]) -> list[str]:
    """A line a class: the label, whose width nobody knows, comes last."""
    rows, labels = [("FROM", "TO", "CLASS", "PROBABILITY")], [""]
    for w in windows:
        for i, each in enumerate(w.classes):
            times = ("", "") if i else _times(w)
            rows.append((*times, str(each.number), f"{each.probability:.4f}"))
            labels.append(output.plain(each.label or ""))
    table = output.table(rows, left=0)
    return [f"{line}  {label}".rstrip() for line, label in zip(table, labels, strict=True)]


def _times(window: Window) -> tuple[str, str]:
    return f"{window.from_s:.2f}s", f"{window.to_s:.2f}s"
