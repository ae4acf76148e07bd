"""`python -m jepad.learn.train --data DIR --out DIR`: from recordings to a model that ships.

Owns: the command line, the clock, checkpoints, progress. Does not know: the network's inside.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from jepad.errors import JepadError, SettingError
from jepad.jepa.config import Schedule, Shape
from jepad.jepa.trainer import Trainer
from jepad.learn import card, dataset, export
from jepad.learn.batches import to_batch
from jepad.learn.calibrate import fit_trust
from jepad.learn.corpus import Cut
from jepad.learn.sampler import Sampler

CHECKPOINT = "checkpoint.pt"
_SAVE_EVERY_S = 120.0
_THREADS = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asked for."""

    data: Sequence[str]
    out: str
    minutes: float
    seed: int
    resume: bool


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(prog="python -m jepad.learn.train", description=__doc__)
    out.add_argument("--data", metavar="DIR", nargs="+", required=True, help="telemetry files")
    out.add_argument("--out", metavar="DIR", required=True, help="where the model goes")
    out.add_argument("--minutes", type=float, default=25.0, help="of training (default 25)")
    out.add_argument("--seed", type=int, default=0, help="default 0")
    out.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    return out


class Clock:
    """Minutes of training so far, across interruptions."""

    def __init__(self, minutes: float, before_s: float = 0.0) -> None:
        self._total_s = minutes * 60
        self._began = time.monotonic() - before_s

    @property
    def spent_s(self) -> float:
        """Seconds of training."""
        return time.monotonic() - self._began

    @property
    def done(self) -> float:
        """Share of the training behind us."""
        return self.spent_s / self._total_s


def train(plan: Plan, cuts: Sequence[Cut]) -> Trainer:
    """Train for the given minutes; leaves a checkpoint in `plan.out`."""
    os.makedirs(plan.out, exist_ok=True)
    path = os.path.join(plan.out, CHECKPOINT)
    sampler = Sampler(cuts, plan.seed)
    trainer = Trainer(Shape(), Schedule(seed=plan.seed))
    before_s = _resume(path, trainer, sampler) if plan.resume else 0.0
    clock, saved = Clock(plan.minutes, before_s), 0.0
    with tqdm(total=100, unit="%", disable=None, bar_format="{l_bar}{bar}| {postfix}") as bar:
        while clock.done < 1:
            terms = trainer.learn(to_batch(*sampler.draw()), clock.done)
            if trainer.step % 20 == 0:
                bar.n = min(100, round(100 * clock.done, 1))
                bar.set_postfix(step=trainer.step, **{k: f"{v:.3f}" for k, v in terms.items()})
            if clock.spent_s - saved > _SAVE_EVERY_S:
                saved = clock.spent_s
                trainer.save(path, _beside(sampler, clock))
    trainer.save(path, _beside(sampler, clock))
    return trainer


def _beside(sampler: Sampler, clock: Clock) -> str:
    return json.dumps({"sampler": sampler.state(), "spent_s": clock.spent_s})


def _resume(path: str, trainer: Trainer, sampler: Sampler) -> float:
    if not os.path.exists(path):
        raise SettingError(f"{path}: no checkpoint to resume from; leave out --resume")
    beside = json.loads(trainer.restore(path))
    sampler.restore(beside["sampler"])
    return float(beside["spent_s"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, export, verify, describe."""
    args = parser().parse_args(arguments)
    plan = Plan(args.data, args.out, args.minutes, args.seed, args.resume)
    torch.set_num_threads(min(_THREADS, os.cpu_count() or 1))
    try:
        traces = dataset.load(plan.data)
        cuts = dataset.training(traces)
        trainer = train(plan, cuts)
        fit_trust(trainer.model, Sampler(cuts, plan.seed + 1))
        run = {"seed": plan.seed, "minutes": plan.minutes, "steps": trainer.step}
        story = card.story(plan.data, traces, cuts) | {"training": run}
        export.export(trainer.model, card.example(traces), plan.out, story)
        made = card.measure(plan.out, traces)
    except JepadError as e:
        sys.stderr.write(f"jepad.learn.train: {e}\n")
        return e.exit_code
    json.dump(made, sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
