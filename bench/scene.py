"""What the world model of video costs on a CPU, and that its planner chooses alike in any batch.

Owns: the comparison of int8, float32 and torch within one run, one thread each.
Does not know: GPUs (gpu.py). Processor time, not wall time: a busy machine changes no ratio.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench import clips, scene_planner, scene_streams, scene_toy
from bench.interleaved import Times, interleaved
from bench.report import Cell, Goal, Options, Report, Table
from jepad.engine.onnx import session
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.shape import EncoderShape
from jepad.learn.video import export
from jepad.learn.video.gate import Accuracy, tokens_alike

INT8, ORT, TORCH, BF16 = "ONNX Runtime int8", "ONNX Runtime fp32", "torch fp32", "torch bf16"
#: Share of the tokens that masks or skipping leave.
SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Sized:
    """What was measured of one encoder and one clip."""

    name: str
    tokens: int
    times: Times
    accuracy: Accuracy  # of int8 beside fp32
    gap: float  # max|Δ| of ONNX Runtime fp32 beside torch fp32


def run(options: Options) -> Report:
    """Minutes; with --quick half a minute, without the clip of 1568 tokens."""
    torch.set_num_threads(1)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="jepad-bench-") as home:
        short = sized("S 128/8f", clips.SMALL, home, 10 if options.quick else 40)
        rows = [short]
        if not options.quick:
            rows.append(sized("S 224/16f", clips.LONGER, home, 7))
        report.goals = [*_speeds(short), *_sizes(home)]
        shipped, figures = scene_toy.measured(home)
    planner = scene_planner.run(options.quick)
    report.goals += [shipped, *planner.goals]
    streams = scene_streams.table(options.quick)
    report.tables = [_table(rows), *planner.tables, streams, *([figures] if figures else [])]
    report.notes = [f"CPU: {processor()}, one thread. {clips.RANDOM}", *planner.notes]
    return report


def sized(name: str, shape: EncoderShape, home: str, rounds: int) -> Sized:
    """One encoder exported into `home` and run on a clip, whole and a quarter of it."""
    made = clips.encoder(shape)
    paths = exported(made, home)
    whole = clips.patches(shape)
    keep = clips.kept(shape, SHARE)
    sessions = {INT8: session(paths["int8"]), ORT: session(paths["fp32"])}
    calls: dict[str, Callable[[], object]] = {}
    for each, model in sessions.items():
        calls[each] = _onnx(model, shape, whole)
        calls[f"{each}, 25 %"] = _onnx(model, shape, whole[:, keep], keep)
    calls[TORCH] = _torch(made, whole)
    exact, rounded, plain = (np.asarray(calls[each]()) for each in (ORT, INT8, TORCH))
    half = clips.encoder(shape).to(torch.bfloat16)
    calls[BF16] = _torch(half, whole)
    alike = tokens_alike(exact, rounded)
    gap = float(abs(exact - plain).max())
    return Sized(name, whole.shape[1], interleaved(calls, rounds), alike, gap)


def exported(made: VideoEncoder, home: str) -> dict[str, str]:
    """Its graphs in `home`: precision to path."""
    weights = {name: value.numpy() for name, value in made.state_dict().items()}
    paths = {each: f"{home}/encoder.{each}.onnx" for each in ("fp32", "int8")}
    for each, path in paths.items():
        export.encoder(path, made.shape, weights.__getitem__, each == "int8")
    return paths


def processor() -> str:
    """The CPU's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({len(names)} cores)" if names else platform.processor() or "unknown"


def _onnx(
    model: Any, shape: EncoderShape, clip: NDArray[Any], keep: NDArray[Any] | None = None
) -> Callable[[], object]:
    cos, sin = clips.turning(shape, keep, halves=True)
    feeds = {"patches": np.ascontiguousarray(clip), "cos": cos, "sin": sin}
    return lambda: model.run(["tokens"], feeds)[0]


def _torch(made: VideoEncoder, clip: NDArray[Any]) -> Callable[[], object]:
    kind = next(made.parameters()).dtype
    where = clips.turn(made.shape)
    where = where._replace(cos=where.cos.to(kind), sin=where.sin.to(kind))
    patches = torch.from_numpy(clip).to(kind)

    def call() -> object:
        with torch.inference_mode():
            return made(patches, where).float().numpy()

    return call


def _speeds(short: Sized) -> list[Goal]:
    times = short.times
    return [
        Goal("int8, times as fast as ONNX Runtime fp32, 256 tokens", times.ratio(ORT, INT8),
             ">=", 1.7),
        Goal("int8, times as fast as torch fp32, 256 tokens", times.ratio(TORCH, INT8), ">=", 3),
        Goal("25 % of 256 tokens, times as fast, int8", times.ratio(INT8, f"{INT8}, 25 %"),
             ">=", 3),
        Goal("25 % of 256 tokens, times as fast, fp32", times.ratio(ORT, f"{ORT}, 25 %"),
             ">=", 3),
    ]  # fmt: skip


def _sizes(home: str) -> list[Goal]:
    """Of the files that the last exports left: the same network whatever the clip."""
    sizes = {
        each: sum(os.path.getsize(path) for path in Path(home).glob(f"encoder.{each}.onnx*"))
        for each in ("int8", "fp32")
    }
    return [Goal("int8 file, share of fp32's, ViT-S", sizes["int8"] / sizes["fp32"], "<=", 0.30)]


def _table(rows: list[Sized]) -> Table:
    columns = ["encoder", "tokens", "engine", "ms", "ms, 25 % of tokens", "cosine pooled",
               "cosine worst token", "max|Δ| to torch fp32"]  # fmt: skip
    cells: list[list[Cell]] = []
    for row in rows:
        ms = {name: 1e3 * row.times.median(name) for name in row.times.seconds}
        for engine in (INT8, ORT, BF16, TORCH):
            rounded = engine == INT8
            cells.append([row.name, row.tokens, engine, ms[engine], ms.get(f"{engine}, 25 %"),
                          row.accuracy.pooled if rounded else None,
                          row.accuracy.worst if rounded else None,
                          row.gap if engine == ORT else None])  # fmt: skip
    return Table("encoder, one clip", columns, cells)
