"""What a camera costs, from its file or device to an embedding in another process.

Owns: decoding beside decoding and shrinking, the motion gate beside encoding always, the goals.
Does not know: processes (camera_live.py). Processor time of one thread, ratios within one run.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import camera_live, clips
from bench.interleaved import interleaved
from bench.report import Cell, Goal, Options, Report, Table
from bench.scene_streams import installed
from jepad.camera.container import Container
from jepad.camera.source import opened, source
from jepad.camera.square import Squares
from jepad.heads.watch import Watch
from jepad.models.library import Installed
from jepad.scene import onnx
from jepad.scene.streaming import WindowStream

SIZE = 224
WIDE, HIGH = 1280, 720
#: A film of 720p that is looked for below --data; else one is made.
FILM = ("clips/bigbuckbunny.mp4", "video/clips/bigbuckbunny.mp4", "bigbuckbunny.mp4")
ENCODER = "V-JEPA 2 ViT-S, 128²/8 frames, int8, random weights"
Frames = NDArray[np.uint8]


class Gated(NamedTuple):
    """A standing view, encoded always and only where the gate opens: seconds of processor time."""

    always: float
    gated: float
    opened: int  # frames the gate let through
    frames: int
    shares: dict[str, float]  # of the gated time: what takes it


def run(options: Options) -> Report:
    """Half a minute with --quick, else two."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="jepad-bench-") as home:
        film = found(options.data) or made(f"{home}/film.mp4", "testsrc2", 132)
        report.notes.append(f"film: {os.path.basename(film)}; {clips.RANDOM}")
        report.tables.append(_decoding(film, 3 if options.quick else 15, report))
        os.mkdir(f"{home}/model")
        model = installed(f"{home}/model", clips.SMALL)
        _standing(f"{home}/still.mp4", model, options.quick, report)
        live = camera_live.measured(model, film, f"{home}/slow.mp4", options.quick)
    report.goals += live.goals
    report.tables += live.tables
    report.notes += live.notes
    return report


def found(data: str | None) -> str | None:
    """Real footage of 720p, if --data has it."""
    paths = [os.path.join(data, place) for place in FILM] if data else []
    return next((path for path in paths if os.path.exists(path)), None)


def made(path: str, graph: str, frames: int, rate: int = 25, noise: int = 0) -> str:
    """A film of 1280 × 720 in H.264, drawn by libavfilter; its path."""
    import av

    text = f"{graph}=size={WIDE}x{HIGH}:rate={rate}" + (f",noise=alls={noise}:allf=t" * bool(noise))
    with av.open(text, format="lavfi") as drawn, av.open(path, "w") as out:
        stream: Any = out.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = WIDE, HIGH, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "26", "threads": "1"}
        for number, frame in enumerate(drawn.decode(video=0)):
            if number == frames:
                break
            frame.pts, frame.time_base = number, Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def decoded(path: str) -> Iterator[Any]:
    """Its frames, as the camera's process decodes them: on one thread."""
    file = opened(path)
    try:
        container = Container(source(f"file:{path}"), file)
        try:
            for packet in container.packages():
                yield from container.frames(packet)
        finally:
            container.close()
    finally:
        os.close(file)


def _decoding(film: str, rounds: int, report: Report) -> Table:
    count = sum(1 for _ in decoded(film))
    calls = {what: call(film) for what, call in (("decode", _only), ("resize", _shrunk),
                                                 ("all", _looked))}  # fmt: skip
    times = interleaved(calls, rounds)
    ratio = times.ratio("resize", "decode")
    report.goals.append(
        Goal(f"decode and resize to {SIZE}², times the CPU of decoding alone", ratio, "<=", 1.7)
    )
    names = {"decode": "decode", "resize": f"decode, resize to {SIZE}²",
             "all": "decode, resize, motion and presence"}  # fmt: skip
    rows: list[list[Cell]] = [
        [name, 1e3 * times.median(what) / count, count / times.median(what)]
        for what, name in names.items()
    ]
    title = f"{count} frames of {os.path.basename(film)}, in this process"
    return Table(title, ["what", "CPU ms a frame", "frames/s a core"], rows)


def _only(film: str) -> Callable[[], object]:
    return lambda: sum(1 for _ in decoded(film))


def _shrunk(film: str) -> Callable[[], object]:
    def call() -> None:
        squares = Squares()
        for frame in decoded(film):
            squares.cut(frame, SIZE)

    return call


def _looked(film: str) -> Callable[[], object]:
    def call() -> None:
        squares, watch = Squares(), Watch(SIZE)
        for number, frame in enumerate(decoded(film)):
            watch.see(squares.cut(frame, SIZE), number / 25)

    return call


def _standing(path: str, model: Installed, quick: bool, report: Report) -> None:
    rate, frames = 4, 64 if quick else 480
    got = gated(made(path, "smptehdbars", frames, rate, noise=2), model, rate)
    what = "standing view, times less CPU than always encoding"
    note = f"gate opened {got.opened} of {got.frames} times; {ENCODER}"
    report.goals.append(Goal(what, got.always / got.gated, ">=", 5, note))
    rows: list[list[Cell]] = [
        ["always encoding", 1e3 * got.always / got.frames, 1.0],
        ["behind the gate", 1e3 * got.gated / got.frames, got.opened / got.frames],
    ]
    rows += [[f"  of it: {name}", 1e3 * s / got.frames, None] for name, s in got.shares.items()]
    title = f"{frames} frames of 720p, a standing view with noise, {rate} frames/s"
    report.tables.append(Table(title, ["what", "CPU ms a frame", "share encoded"], rows))


def gated(film: str, model: Installed, rate: float) -> Gated:
    """Both ways over the same frames, in turn; decoding and resizing are part of both."""
    backend = onnx.load(model, "int8", 1)
    always, behind = WindowStream(backend), WindowStream(backend)
    watch, squares, clock = Watch(SIZE), Squares(), Clock()
    side = clips.SMALL.size
    frames, let, number = iter(decoded(film)), 0, 0
    tubelet = list[tuple[Frames, bool]]()
    while (frame := clock.of("decode", next, frames, None)) is not None:
        pixels = clock.of("resize", squares.cut, frame, SIZE)
        seen = clock.of("motion", watch.see, pixels, number / rate)
        small = pixels[:side, :side]
        clock.of("always", always.see, small)
        tubelet.append((small, seen.gate))
        if len(tubelet) == clips.SMALL.tubelet:  # one frame that is let through takes its pair
            for other, _ in tubelet if any(gate for _, gate in tubelet) else ():
                clock.of("encode", behind.see, other)
            tubelet.clear()
        let += seen.gate
        number += 1
    spent = clock.seconds
    shared = spent["decode"] + spent["resize"]
    parts = {name: spent.get(name, 0.0) for name in ("decode", "resize", "motion", "encode")}
    return Gated(shared + spent["always"], sum(parts.values()), let, number, parts)


class Clock:
    """Processor time of this process by the name of what it went to."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def of(self, name: str, call: Callable[..., Any], *given: Any) -> Any:
        """What the call gives; its time is counted."""
        start = time.process_time()
        try:
            return call(*given)
        finally:
            spent = time.process_time() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
