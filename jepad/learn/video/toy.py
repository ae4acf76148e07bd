"""`python -m jepad.learn.video.toy --out DIR`: the model that ships, of the toy world.

Owns: its sizes, its two trainings, its files. Does not know: losses and optimisers of V-JEPA,
graphs.

As with V-JEPA 2-AC, an encoder learns first and then stays as it is, while an action predictor
learns on its tokens. That encoder is V-JEPA's, its first training is not: masked prediction of a
world of one disc says little of far places. It learns that pictures are as far apart (L1, the
energy that a plan makes small) as the states they show: it can't collapse, and from everywhere the
way to a goal leads down.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from jepad.errors import JepadError, ModelError
from jepad.jepa.learner import Learner
from jepad.jepa.losses import l1
from jepad.jepa.target import normed
from jepad.jepa.video.action import ActionPredictor, Given
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.shape import ActionShape, EncoderShape
from jepad.jepa.video.training import ActionTrainer, Course, encode_frames
from jepad.learn.video import drive, install
from jepad.learn.video.drive import Model
from jepad.models import library
from jepad.planning import toy
from jepad.planning.bounds import TOY
from jepad.vision import picture

WIDTH, HEADS, DEPTH = 48, 2, 2
ENCODER = EncoderShape(
    width=WIDTH, depth=DEPTH, heads=HEADS, hidden=4 * WIDTH, layout="tiled",
    patch=8, size=toy.SIDE, frames=2,
)  # fmt: skip
ACTION = ActionShape(
    width=WIDTH, depth=DEPTH, heads=HEADS, hidden=4 * WIDTH, layout="tiled",
    source=WIDTH, grid=ENCODER.grid, actions=2, states=2,
)  # fmt: skip
#: Energy between pictures whose states are 1 apart; tokens of layer norm can't be much further.
SCALE = 0.2
STEPS = 800  # of each training
_BATCH, _FRAMES = 48, 3
#: Of the random goals it is measured on; training draws with the plan's seed.
_MEASURED = 1_000_003
GOAL = (0.6, -0.5)  # the state that goal.png shows
#: Of every 20 goals a model must reach so many to be shipped.
LEAST = 0.9


@dataclass(frozen=True, slots=True)
class Steps:
    """How long, and from which seed."""

    encoder: int = STEPS
    action: int = STEPS
    seed: int = 0


class ApartTrainer(Learner):
    """An encoder that learns how far apart pictures are."""

    def __init__(self, encoder: VideoEncoder, course: Course) -> None:
        self.encoder, self.course = encoder, course
        optimiser = torch.optim.AdamW(encoder.parameters(), weight_decay=course.decay)
        super().__init__({"encoder": encoder}, optimiser, {"course": asdict(course)})

    def learn(self, states: toy.Floats) -> dict[str, float]:
        """One step on pictures of states [B, 2]; returns the mean error of all pairs."""
        frames = drive.clips(states[:, None]).expand(-1, -1, ENCODER.tubelet, -1, -1)
        tokens = normed(self.encoder.encode(frames)).flatten(1)
        energies = torch.cdist(tokens, tokens, p=1) / tokens.shape[1]
        placed = torch.from_numpy(states)
        loss = l1(energies, SCALE * torch.cdist(placed, placed))
        self.descend(loss, self.course.rate(self.step + 1), self.course.clip)
        return {"apart": float(loss.detach())}


def train(steps: Steps, bar: Callable[[str, dict[str, float]], object]) -> Model:
    """Both trainings; `bar` hears of every step. The same seed and threads: the same weights."""
    torch.manual_seed(steps.seed)
    random = np.random.default_rng(steps.seed)
    encoder = VideoEncoder(ENCODER)
    seeing = ApartTrainer(encoder, _course(steps.encoder))
    for _ in range(steps.encoder):
        bar("encoder", seeing.learn(toy.random_states(_BATCH, random)))
    encoder.requires_grad_(False).eval()
    acting = ActionTrainer(ActionPredictor(ACTION), _course(steps.action))
    for _ in range(steps.action):
        states, actions = ways(_BATCH, random)
        tokens = encode_frames(encoder, drive.clips(states))
        given = Given(torch.from_numpy(actions), torch.from_numpy(states))
        bar("action", acting.learn(tokens, given))
    return Model(encoder, acting.predictor.requires_grad_(False).eval())


def ways(count: int, random: np.random.Generator) -> tuple[toy.Floats, toy.Floats]:
    """States [count, _FRAMES, 2] and the actions between them."""
    states, actions = [toy.random_states(count, random)], []
    for _ in range(_FRAMES - 1):
        actions.append(toy.random_actions(count, random))
        states.append(toy.step(states[-1], actions[-1]))
    return np.stack(states, 1), np.stack(actions, 1)


def story(steps: Steps, driven: Sequence[drive.Drive]) -> dict[str, Any]:
    """What the manifest says of it."""
    search = asdict(drive.SEARCH)
    return {
        "notes": ["trained in the toy world of jepad.planning.toy; it has seen nothing else"],
        "bounds": TOY.name,
        "goal": list(GOAL),
        "search": {name: search[name] for name in ("samples", "elites", "iterations", "horizon")},
        "goals_reached": sum(way.arrived for way in driven),
        "goals_touched": sum(way.touched for way in driven),
        "steps_a_goal": drive.STEPS,
        "goals": len(driven),
        "median_distance": round(statistics.median(w.distances[-1] for w in driven), 4),
        "arrived_within": round(toy.ARRIVED, 4),
        "trained": asdict(steps),
    }


def write(directory: str, model: Model, about: dict[str, Any]) -> library.Manifest:
    """The model's files, into a directory that is made, or replaced where it holds a model.

    SettingError: it holds something else.
    """
    parts: dict[str, nn.Module] = {"encoder": model.encoder, "action": model.predictor}
    states = {name: part.state_dict() for name, part in parts.items()}
    recipe = install.Recipe(
        name=library.TOY,
        version="2-ac",
        shapes={"encoder": ENCODER, "action": ACTION},
        source={"scheme": "own", "command": "python -m jepad.learn.video.toy"},
        precisions=("fp32",),
        licence="Apache-2.0",
        random=False,
        story=about,
    )
    with library.installing(*os.path.split(os.path.abspath(directory)), replace=True) as scratch:
        picture.write(os.path.join(scratch, "goal.png"), toy.render(GOAL))
        return install.make(scratch, recipe, lambda part, key: states[part][key], lambda *_: None)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(prog="python -m jepad.learn.video.toy", description=__doc__)
    out.add_argument("--out", metavar="DIR", required=True, help="where the model goes")
    out.add_argument("--seed", type=int, default=0, help="default 0")
    out.add_argument("--steps", metavar="N", type=_count, default=STEPS,
                     help=f"of each of the two trainings (default {STEPS})")  # fmt: skip
    out.add_argument("--goals", type=int, default=20, help="to be measured on (default 20)")
    out.add_argument("--threads", type=int, default=1, help="the same bits need the same number")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, measure, write; a model that doesn't reach its goals is not written."""
    args = parser().parse_args(arguments)
    torch.set_num_threads(args.threads)
    steps = Steps(args.steps, args.steps, args.seed)
    try:
        library.place(*os.path.split(os.path.abspath(args.out)), replace=True)
        model = _trained(steps)
        about = story(steps, drive.drives(model, args.goals, _MEASURED))
        reached, goals = about["goals_reached"], about["goals"]
        if reached < LEAST * goals:
            raise ModelError(f"only {reached} of {goals} goals reached: not written")
        manifest = write(args.out, model, about)
    except JepadError as error:
        print(f"toy: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{args.out}: {reached} of {goals} goals reached, digest {manifest.digest[:12]}")
    return 0


def _trained(steps: Steps) -> Model:
    """A bar on a terminal; elsewhere, as in a log, a line a training, at its end."""
    left = Counter({"encoder": steps.encoder, "action": steps.action})
    with tqdm(total=left.total(), unit="step", disable=None) as bar:

        def told(stage: str, terms: dict[str, float]) -> None:
            words = {k: f"{v:.3f}" for k, v in terms.items()}
            bar.set_description(stage, refresh=False)
            bar.set_postfix(words, refresh=False)
            bar.update()
            left[stage] -= 1
            if bar.disable and not left[stage]:
                said = ", ".join(f"{k} {v}" for k, v in words.items())
                print(f"toy: {stage}: {getattr(steps, stage)} steps, {said}", file=sys.stderr)

        return train(steps, told)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of steps")
    return int(text)


def _course(steps: int) -> Course:
    return Course(
        start=1e-4, peak=2e-3, final=2e-5, warmup=50, steps=steps,
        decay=0.01, clip=1.0,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
