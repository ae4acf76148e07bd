"""`python -m jepad.learn.train --data DIR --out DIR`: from recordings to a model that ships.

Owns: the command line, when to save, what a checkpoint must be of, progress. The schedule is by
steps, so a training that was killed and resumed ends in the same weights as an unbroken one.
Does not know: the network's inside.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from jepad.errors import JepadError, SettingError
from jepad.jepa.config import Schedule, Shape
from jepad.jepa.trainer import Trainer
from jepad.learn import card, dataset, effects, export
from jepad.learn.batches import to_batch
from jepad.learn.calibrate import BATCHES, fit_trust
from jepad.learn.corpus import Cut
from jepad.learn.gym.episodes import NAME as MANIFEST
from jepad.learn.sampler import Sampler

CHECKPOINT = "checkpoint.pt"
_STEPS, _SAVE_EVERY, _THREADS = Schedule().steps, 100, 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asked for."""

    data: Sequence[str]
    out: str
    steps: int = _STEPS
    seed: int = 0
    resume: bool = False
    save_every: int = _SAVE_EVERY
    gym: str | None = None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(prog="python -m jepad.learn.train", description=__doc__)
    out.add_argument("--data", metavar="DIR", nargs="+", required=True, help="telemetry files")
    out.add_argument("--out", metavar="DIR", required=True, help="where the model goes")
    out.add_argument(
        "--gym", metavar="DIR",
        help="episodes to learn from what actions change (default: the --data with a manifest)",
    )  # fmt: skip
    out.add_argument(
        "--steps", metavar="N", type=_count, default=_STEPS, help="default %(default)s"
    )
    out.add_argument("--seed", type=int, default=0, help="default 0")
    out.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint in --out as if unbroken"
    )
    out.add_argument(
        "--save-every", metavar="N", type=_count, default=_SAVE_EVERY,
        help="steps between checkpoints (default %(default)s)",
    )  # fmt: skip
    out.add_argument(
        "--threads", metavar="N", type=_count, default=min(_THREADS, os.cpu_count() or 1),
        help="of the processor (default %(default)s); the same bits need the same number",
    )  # fmt: skip
    return out


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return number


def train(plan: Plan, cuts: Sequence[Cut], shape: Shape | None = None) -> Trainer:
    """Train for `plan.steps` steps; leaves a checkpoint in `plan.out`."""
    try:
        os.makedirs(plan.out, exist_ok=True)
    except OSError as e:
        raise SettingError(f"{plan.out}: can't make this directory: {e.strerror}") from e
    path = os.path.join(plan.out, CHECKPOINT)
    sampler = Sampler(cuts, plan.seed)
    trainer = Trainer(shape or Shape(), Schedule(seed=plan.seed, steps=plan.steps))
    data = dataset.fingerprint(cuts)
    if plan.resume:
        _resume(path, trainer, sampler, data)
    with tqdm(total=plan.steps, initial=trainer.step, unit="step", disable=None) as bar:
        while trainer.step < plan.steps:
            terms = trainer.learn(to_batch(*sampler.draw()))
            bar.update()
            if trainer.step % 20 == 0:
                bar.set_postfix({k: f"{v:.3f}" for k, v in terms.items()})
            if trainer.step % plan.save_every == 0 or trainer.step == plan.steps:
                trainer.save(path, json.dumps({"sampler": sampler.state(), "data": data}))
    return trainer


def _resume(path: str, trainer: Trainer, sampler: Sampler, data: str) -> None:
    if not os.path.exists(path):
        raise SettingError(f"{path}: no checkpoint to resume from; leave out --resume")
    beside = json.loads(trainer.restore(path))
    if beside["data"] != data:
        raise SettingError(
            f"{path}: of a training on other data; name the same --data, or start again "
            "without --resume or in another --out"
        )
    sampler.restore(beside["sampler"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, export, verify, describe."""
    args = parser().parse_args(arguments)
    plan = Plan(args.data, args.out, args.steps, args.seed, args.resume, args.save_every, args.gym)
    torch.set_num_threads(args.threads)
    try:
        made = _make(plan, args.threads)
    except JepadError as e:
        sys.stderr.write(f"jepad.learn.train: {e}\n")
        return e.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("jepad.learn.train: stopped; --resume goes on from the last checkpoint\n")
        return 130
    json.dump(made, sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0


def _make(plan: Plan, threads: int) -> dict[str, object]:
    traces = dataset.load(plan.data)
    cuts = dataset.training(traces)
    if not cuts:
        raise SettingError(f"{', '.join(plan.data)}: nothing there is long enough to train on")
    trainer = train(plan, cuts)
    # A training of a few steps is a trial: no more is spent on what comes after it.
    fit_trust(trainer.model, Sampler(cuts, plan.seed + 1), min(BATCHES, 8 * plan.steps))
    run: dict[str, object] = {"seed": plan.seed, "steps": trainer.step, "threads": threads}
    gym = plan.gym or next(filter(_is_gym, plan.data), None)
    happened = effects.training(gym) if gym else []
    if happened:
        run["effects"] = effects.fit_effects(trainer.model, happened, plan.seed)
    read = dict.fromkeys([*plan.data, *([gym] if gym else [])])
    story = card.story(list(read), traces, cuts) | {"training": run}
    story["actions"] = sorted({e.action.kind for e in happened})
    export.export(trainer.model, card.example(traces), plan.out, story)
    return card.measure(plan.out, traces)


def _is_gym(directory: str) -> bool:
    return os.path.exists(os.path.join(directory, MANIFEST))


if __name__ == "__main__":
    sys.exit(main())
