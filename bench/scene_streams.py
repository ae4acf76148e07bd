"""Video as it comes, on the CPU: faithful windows beside ones that skip what looks unchanged.

Owns: the made-up video, the rows. Does not know: how either stream works (scene/streaming.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bench import clips
from bench.interleaved import processor_time
from bench.report import Cell, Table
from jepad.jepa.video.shape import EncoderShape
from jepad.learn.video.install import Recipe, make
from jepad.models import library
from jepad.scene import onnx
from jepad.scene.backend import Backend
from jepad.scene.streaming import Skipped, Skipping, SkippingStream

#: Share of the unchanged patches that is encoded along.
CONTEXTS = (0.0, 0.1, 0.5)
_SQUARE, _PACE = 24, 3  # pixels: of what moves, and a frame


def table(quick: bool) -> Table:
    """A standing camera, a square that moves; a window a tubelet."""
    count = 5 if quick else 17
    with tempfile.TemporaryDirectory(prefix="jepad-bench-") as home:
        backend = onnx.load(installed(home, clips.SMALL), "int8", 1)
        rows = [row(backend, clips.SMALL, context, count) for context in CONTEXTS]
    columns = ["context", "share encoded", "times as fast", "cosine pooled",
               "cosine worst token", "relative error"]  # fmt: skip
    return Table("token skipping (an approximation), a square moving over noise", columns, rows)


def row(backend: Backend, shape: EncoderShape, context: float, count: int) -> list[Cell]:
    """Of `count` windows; the first is encoded whole, the last measured."""
    skipping = SkippingStream(backend, Skipping(context=context, refresh=count - 1))
    whole = SkippingStream(backend, Skipping(change=0, context=1))  # every changed pixel, and all
    seconds: dict[str, list[float]] = {"skipping": [], "whole": []}
    shares, found = [], None
    for window in windows(shape, count):
        once = _see(skipping, window, seconds["skipping"])
        _see(whole, window, seconds["whole"])
        shares.append(once.encoded / len(once.tokens))
        found = once.error
    assert found is not None
    between = slice(1, -1)
    faster = np.median(seconds["whole"][between]) / np.median(seconds["skipping"][between])
    share = float(np.mean(shares[between]))
    return [context, share, float(faster), found.pooled, found.worst, found.relative]


def _see(stream: SkippingStream, window: NDArray[np.uint8], seconds: list[float]) -> Skipped:
    kept: list[Skipped] = []
    seconds.append(processor_time(lambda: kept.append(stream.see(window))))
    return kept[0]


def windows(shape: EncoderShape, count: int) -> Iterator[NDArray[np.uint8]]:
    """uint8 [T, H, W, 3], each a tubelet later than the one before."""
    ground = np.random.default_rng(0).integers(60, 120, (shape.size, shape.size, 3), np.uint8)
    for i in range(count):
        window = np.repeat(ground[None], shape.frames, 0)
        for j, frame in enumerate(window):
            at = (i * shape.tubelet + j) * _PACE % (shape.size - _SQUARE)
            frame[at : at + _SQUARE, at : at + _SQUARE] = (230, 160, 40)
        yield window


def installed(home: str, shape: EncoderShape) -> library.Installed:
    """An encoder of random weights."""
    weights = clips.encoder(shape).state_dict()
    recipe = Recipe(
        name="bench", version="2.0", shapes={"encoder": shape}, source={"scheme": "own"},
        precisions=("int8",), random=True, weights=False, ungated=True,
    )  # fmt: skip
    make(home, recipe, lambda _, key: weights[key], lambda *_: None)
    return library.read(home)
