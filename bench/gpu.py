"""The video world model on a GPU, beside transformers at the same precision and the GPU's own
matmul rate, all in one run.

Owns: the cases, FLOP counts, what each side is given. Does not know: the CPU (scene.py).
Without a GPU it says so, and every goal is null. Written where no GPU was: every line but the
recording of CUDA graphs is tested on a CPU, and no figure of it was ever measured.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from bench import clips
from bench.interleaved import Clock, interleaved, wall_time
from bench.report import Cell, Goal, Options, Report, Table
from jepad.jepa.target import normed
from jepad.jepa.video.action import ActionPredictor
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.quantised import Form
from jepad.jepa.video.quantised import replace as rounded
from jepad.jepa.video.rollout import Moment, World, rollout
from jepad.jepa.video.shape import PRESETS, ActionShape, EncoderShape
from jepad.learn.video.quantise import quantised
from jepad.planning.bounds import Bounds, droid
from jepad.planning.cem import Draws, Planner, Settings, plan
from jepad.planning.energy import l1, sliced
from jepad.planning.pose import mover
from jepad.scene.backend import Tables
from jepad.scene.capture import Cuda, Repeats
from jepad.scene.networks import DTYPES, ROUNDED, Networks, PairedTurn, turned

NO_GPU = "no CUDA device here: nothing was measured"
#: As the paper's plan: 16 s there, on an RTX 4090.
PAPER = Settings(samples=800, elites=10, iterations=10, horizon=1)
_SLICE = 100  # samples at once: more are no faster
_MATMUL = 8192  # rows, columns and depth of the product the ceiling is measured with
OURS, THEIRS = "ours", "transformers"


@dataclass(frozen=True, slots=True)
class Case:
    """An encoder, a clip and a precision."""

    name: str
    shape: EncoderShape
    precision: str = "bf16"
    batch: int = 1

    @property
    def flop(self) -> float:
        """Of one run: patches, the four products of a block, attention."""
        return self.batch * flop(self.shape)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a machine is measured with."""

    device: torch.device
    clock: Clock
    rounds: int
    record: Callable[[], Repeats]


L16 = Case("ViT-L 256/16f", replace(PRESETS["vitl-256"].encoder, frames=16))
G64 = Case("ViT-g 384/64f", PRESETS["vitg-384"].encoder)
CASES = (
    L16,
    replace(L16, name=f"{L16.name}, batch 32", batch=32),
    replace(L16, name=f"{L16.name}, int8 weights", precision="int8"),
    replace(L16, name=f"{L16.name}, fp8 weights", precision="fp8"),
    G64,
)


def run(options: Options) -> Report:
    """Minutes on a GPU; at once without one."""
    if not torch.cuda.is_available():
        goals = [replace(goal, note=NO_GPU) for goal in goals_of({}, None)]
        return Report(goals, [], [NO_GPU, clips.RANDOM])
    device = torch.device("cuda:0")
    bench = Bench(device, on_device, 5 if options.quick else 30, lambda: Repeats(Cuda()))
    with torch.no_grad():
        return measured(bench, CASES, (PRESETS["vitg-256-ac"].action, PAPER))


def measured(
    bench: Bench, cases: tuple[Case, ...], acting: tuple[ActionShape | None, Settings]
) -> Report:
    """All of it, on any device."""
    top = ceiling(bench)
    rows = {case.name: row(bench, case, top) for case in cases}
    shape, settings = acting
    assert shape is not None
    seconds = planning(bench, shape, droid(0.05), settings)
    columns = ["case", "tokens", "precision", "ms", "TFLOP/s", "share of ceiling",
               "transformers ms", "times as fast", "clips/s"]  # fmt: skip
    name = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "CPU"
    searched = f"{settings.samples} samples, {settings.iterations} iterations"
    tables = [
        Table(f"encoder on {name}", columns, [each.cells for each in rows.values()]),
        Table(f"2-AC plan on {name}", ["search", "horizon", "s"],
              [[searched, settings.horizon, seconds]]),
        Table(f"ceiling of {name}", ["matmul bf16, TFLOP/s"], [[top / 1e12]]),
    ]  # fmt: skip
    return Report(goals_of(rows, seconds), tables, [f"Device: {name}. {clips.RANDOM}"])


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a case."""

    cells: list[Cell]
    ms: float
    share: float  # of the ceiling
    faster: float | None  # than transformers


def goals_of(rows: dict[str, Row], plan_s: float | None) -> list[Goal]:
    """The goals, of whatever was measured."""

    def of(case: Case, read: Callable[[Row], float | None]) -> float | None:
        return read(rows[case.name]) if case.name in rows else None

    out = [Goal(f"{L16.name} bf16, ms", of(L16, lambda r: r.ms), "<", 10)]
    for case in (L16, G64):
        faster, share = of(case, lambda r: r.faster), of(case, lambda r: r.share)
        out.append(Goal(f"{case.name} bf16, times as fast as transformers", faster, ">=", 1.3))
        out.append(Goal(f"{case.name} bf16, share of the matmul ceiling", share, ">=", 0.55))
    out.append(Goal("2-AC plan, 800 samples, 10 iterations, horizon 1, s", plan_s, "<", 4))
    return out


def flop(shape: EncoderShape) -> float:
    """Multiplications and additions of one clip."""
    tokens, width = shape.grid.tokens, shape.width
    linears = shape.depth * (4 * width**2 + 2 * width * shape.hidden) + shape.inputs * width
    return 2.0 * tokens * linears + 4.0 * shape.depth * tokens**2 * width


def ceiling(bench: Bench, size: int = _MATMUL) -> float:
    """FLOP/s of one large product in bfloat16."""
    one, other = (torch.randn(size, size, device=bench.device).bfloat16() for _ in range(2))
    times = interleaved({"matmul": lambda: one @ other}, bench.rounds, bench.clock)
    return 2.0 * size**3 / times.median("matmul")


def row(bench: Bench, case: Case, top: float) -> Row:
    """Ours, and transformers where it has the precision, in turn."""
    video = _video(case, bench.device)
    calls = {OURS: ours(case, video, bench.record())}
    if case.precision not in ROUNDED:
        calls[THEIRS] = theirs(case, video)
    times = interleaved(calls, bench.rounds, bench.clock)
    calls.clear()
    _let_go(bench.device)
    seconds = times.median(OURS)
    beside = times.median(THEIRS) if THEIRS in times.seconds else None
    faster = times.ratio(THEIRS, OURS) if beside is not None else None
    rate = case.flop / seconds
    cells: list[Cell] = [
        case.name, case.shape.grid.tokens, case.precision, 1e3 * seconds, rate / 1e12, rate / top,
        None if beside is None else 1e3 * beside, faster, case.batch / seconds,
    ]  # fmt: skip
    return Row(cells, 1e3 * seconds, rate / top, faster)


def ours(case: Case, video: Tensor, repeats: Repeats) -> Callable[[], object]:
    """As served: rows paired, replayed; from pixels, as the peer."""
    encoder = _network(case, video.device)
    tables = Tables(*clips.turning(case.shape, halves=True))
    turn = turned(tables, video.device, video.dtype)

    def work(given: Tensor, cos: Tensor, sin: Tensor) -> list[Tensor]:
        return [encoder(encoder.patches(given), PairedTurn(cos, sin, True))]

    inputs = [video, turn.cos, turn.sin]
    repeats("encode", work, inputs)  # the first of a shape is not recorded
    return lambda: repeats("encode", work, inputs)


def theirs(case: Case, video: Tensor) -> Callable[[], object]:
    """VJEPA2Model of the same sizes, its fused attention, without its predictor."""
    from transformers import VJEPA2Config, VJEPA2Model

    shape = case.shape
    config = cast(Any, VJEPA2Config)(
        crop_size=shape.size,
        frames_per_clip=shape.frames,
        hidden_size=shape.width,
        num_attention_heads=shape.heads,
        num_hidden_layers=shape.depth,
        mlp_ratio=shape.hidden / shape.width,
        pred_num_hidden_layers=1,
        attn_implementation="sdpa",
    )
    with video.device:
        model = cast(Any, VJEPA2Model)(config).to(video.dtype).eval().requires_grad_(False)
    frames = video.transpose(1, 2).contiguous()
    return lambda: model(pixel_values_videos=frames, skip_predictor=True)


def planning(bench: Bench, shape: ActionShape, bounds: Bounds, settings: Settings) -> float:
    """Seconds of one whole plan on the wall, the second of two."""
    device = bench.device
    dtype = DTYPES["bf16"]
    with device:
        predictor = ActionPredictor(shape).to(dtype).eval().requires_grad_(False)
    tiny = EncoderShape(width=12, depth=1, heads=2, hidden=12, layout="tiled")  # isn't asked
    networks = Networks(VideoEncoder(tiny), None, predictor, device, "bf16")

    def array(values: Any) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=device)

    tokens = normed(torch.randn(2, 1, shape.grid.frame, shape.source, device=device))
    world = World(networks.step, mover(bounds, torch, array))
    now = Moment(tokens[0], torch.zeros(1, shape.states, device=device))

    def energy(actions: Tensor) -> Tensor:
        return cast(Tensor, l1(rollout(world, now, actions)[-1].tokens, tokens[1]))

    def search() -> object:
        return plan(Planner(bounds, settings, Draws(0, array)), sliced(energy, _SLICE))

    search()
    seconds = wall_time(search)  # ends with numbers on the host: nothing is still running
    del predictor, networks
    _let_go(device)
    return seconds


def on_device(call: Callable[[], object]) -> float:
    """Seconds between two events on the current CUDA stream."""
    start, end = (cast(Any, torch.cuda.Event)(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def _network(case: Case, device: torch.device) -> VideoEncoder:
    with device:
        made = VideoEncoder(case.shape).eval().requires_grad_(False)
    for layer in _linears(made):
        nn.init.normal_(layer.weight, std=0.02)
    if case.precision in ROUNDED:
        depth = case.shape.depth
        rounded(made, cast(Form, case.precision), lambda name: quantised(name, depth))
    return made.to(DTYPES[case.precision])


def _linears(module: nn.Module) -> Iterator[nn.Linear]:
    return (layer for layer in module.modules() if isinstance(layer, nn.Linear))


def _video(case: Case, device: torch.device) -> Tensor:
    shape = case.shape
    size = (case.batch, 3, shape.frames, shape.size, shape.size)
    draws = np.random.default_rng(0).standard_normal(size, dtype=np.float32)
    return torch.from_numpy(draws).to(device).to(DTYPES[case.precision])


def _let_go(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
