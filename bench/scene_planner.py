"""The planner over a small action-conditioned model: the same choices in any batch, and its time.

Owns: the model it is asked of, what is compared. Does not know: encoders' speed (scene.py).
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench import clips
from bench.interleaved import Times, interleaved
from bench.report import Cell, Goal, Report, Table
from jepad.jepa.video.rollout import Moment, World, rollout
from jepad.jepa.video.shape import ActionShape, EncoderShape
from jepad.learn.video.install import Recipe, make
from jepad.models import library
from jepad.planning.bounds import TOY
from jepad.planning.cem import Plan, Planner, Settings, plan
from jepad.planning.energy import Energy, l1, sliced
from jepad.planning.pose import mover
from jepad.scene import onnx
from jepad.scene.backend import Backend
from jepad.scene.normal import normed
from jepad.scene.serving.plan import MOST_ON_CPU

SHAPES: dict[str, EncoderShape | ActionShape] = {
    "encoder": EncoderShape(
        width=96, depth=1, heads=2, hidden=192, size=64, frames=2, layout="tiled"
    ),
    "action": ActionShape(
        width=96, depth=4, heads=2, hidden=384, source=96, layout="tiled", actions=2, states=2,
        grid=clips.square(1, 4),
    ),
}  # fmt: skip
SAMPLES = (32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class Alike:
    """Two searches with the same draws, one asking of all samples at once and one of each alone."""

    iterations: int
    same: int  # of them with the same elites in the same order
    apart: float  # max|Δ| of the action that is chosen

    @property
    def share(self) -> float:
        """1.0: every choice was the same."""
        return self.same / self.iterations


def run(quick: bool) -> Report:
    """Seconds."""
    with tempfile.TemporaryDirectory(prefix="jepad-bench-") as home:
        backend = onnx.load(_installed(home), "fp32", 1)
        energy = asked(backend)
        found = alike(energy, Settings(samples=64, elites=8, iterations=4 if quick else 10))
        times = timed(
            sliced(energy, MOST_ON_CPU),
            SAMPLES,  # as served
            3 if quick else 9,
        )
    slope = growth({n: times.median(str(n)) for n in SAMPLES})
    goals = [
        Goal("planner: share of iterations with the same choices, batched and one by one",
             found.share, "==", 1.0, f"action differs by {found.apart:.1e}"),
        Goal("planner: exponent of time over samples (1 = linear)", slope, "<=", 1.1),
    ]  # fmt: skip
    rows: list[list[Cell]] = [[n, 1e3 * times.median(str(n)),
                               1e3 * times.median(str(n)) / n] for n in SAMPLES]  # fmt: skip
    table = Table("planner, one iteration, horizon 2", ["samples", "ms", "ms a sample"], rows)
    return Report(goals, [table], [f"Planner: small 2-AC model, {_size()}. {clips.RANDOM}"])


def asked(backend: Backend) -> Energy:
    """actions [S, 2, 2] -> how far the imagined end is from a goal, [S]; start and goal are noise,
    layer-normed as tokens are."""
    shape = SHAPES["action"]
    assert isinstance(shape, ActionShape)
    draws = np.random.default_rng(0).standard_normal((2, 1, shape.grid.frame, shape.source))
    start, goal = (backend.put(normed(each.astype(np.float32))) for each in draws)
    world = World(backend.act, mover(TOY, backend.xp, backend.put))
    now = Moment(start, backend.put(np.zeros((1, shape.states), np.float32)))
    return lambda actions: l1(rollout(world, now, actions)[-1].tokens, goal)


def alike(energy: Energy, settings: Settings) -> Alike:
    """Both searches."""
    whole, single = (searched(each, settings) for each in (energy, sliced(energy, 1)))
    same = [
        one.elites == other.elites for one, other in zip(whole.rounds, single.rounds, strict=True)
    ]
    return Alike(len(same), sum(same), float(abs(whole.action - single.action).max()))


def searched(energy: Energy, settings: Settings) -> Plan:
    """To the end, with the seed's draws."""
    return plan(Planner(TOY, settings), energy)


def timed(energy: Energy, samples: tuple[int, ...], rounds: int) -> Times:
    """One iteration each, by number of samples."""
    calls: dict[str, Callable[[], object]] = {}
    for n in samples:
        actions = Planner(TOY, Settings(samples=n, elites=2)).ask()
        calls[str(n)] = functools.partial(energy, actions)
    return interleaved(calls, rounds)


def growth(seconds: dict[int, float]) -> float:
    """The exponent that fits time over samples best: 1 is linear."""
    sizes, times = (np.log(np.array(list(each))) for each in (seconds.keys(), seconds.values()))
    return float(np.polyfit(sizes, times, 1)[0])


def _installed(home: str) -> library.Installed:
    modules = {part: clips.network(shape) for part, shape in SHAPES.items()}
    # A trained model heeds actions of centimetres; one of random weights hardly would.
    modules["action"].action_encoder.weight.mul_(100)
    recipe = Recipe(
        name="bench", version="2-ac", shapes=SHAPES, source={"scheme": "own"},
        precisions=("fp32",), random=True, weights=False, ungated=True,
    )  # fmt: skip
    make(home, recipe, lambda part, key: modules[part].state_dict()[key], lambda *_: None)
    return library.read(home)


def _size() -> str:
    shape = SHAPES["action"]
    assert isinstance(shape, ActionShape)
    return f"width {shape.width}, {shape.depth} blocks, {shape.grid.frame} tokens a frame"
