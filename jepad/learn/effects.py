"""The second stage of training: what actions change, on a model that stays as it is.

Owns: the examples, the loss, how long to learn and how wide to speak (told by seeds left out).
Encoder, predictor and read-out are frozen. Does not know: how episodes are recorded.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jepad.errors import SettingError
from jepad.heads.prepare import CONTEXT, HORIZONS, prepare
from jepad.jepa.effect import EffectHead
from jepad.jepa.encoder import latent
from jepad.jepa.losses import QUANTILES
from jepad.jepa.world import WorldModel
from jepad.learn import outcomes
from jepad.learn.batches import to_feeds
from jepad.learn.gym.episodes import read_manifest
from jepad.learn.outcomes import Rows
from jepad.learn.twins import Event, events
from jepad.records import Floats

#: Seconds a step that are learned from; judged is the first.
PACES = (1.0, 0.5, 0.2)
_FOLDS, _BATCH, _CHECKED = 4, 512, 100
#: Units of outcomes.py that one answer counts at most.
_WILDEST, _LOUDEST = 8.0, 4.0
#: Weight of what may be mere chance.
_UNCLEAR = 0.2
_COVERED, _WIDTHS = 0.8, tuple(np.round(np.arange(-1.5, 2.6, 0.25), 2).tolist())
State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the head learns."""

    steps: int = 400  # at most; seeds left out tell how many
    peak: float = 1e-2
    decay: float = 0.05
    blind: float = 0.5  # share of rows whose queries are hidden: few events, many weights
    latent: float = 0.3  # weight of the latent loss
    trusted: float = 0.7  # weight of each plain guess before anything is learned
    average: float = 0.98  # of the weights over steps


@dataclass(frozen=True, slots=True)
class Examples:
    """A row a channel of an event; unknown answers weigh 0."""

    queries: Tensor  # [N, H, D] of the frozen network
    action: Tensor  # [N, A]
    effects: Tensor  # [N, H, E]
    actual: Tensor  # [N, H] in units of `effects`
    weight: Tensor  # [N, H]
    later: Tensor  # [N, H, D]: the embedding of what came with the action
    seen: Tensor  # [N, H]: 1 = `later` is known

    def of(self, at: NDArray[np.intp]) -> Examples:
        """Some of the rows."""
        i = torch.from_numpy(at)
        return Examples(*(getattr(self, name)[i] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Lesson:
    """Everything there is to learn from."""

    examples: Examples
    told: Rows
    judged: NDArray[np.bool_]  # [N]: at the pace that is judged


def fit_effects(
    model: WorldModel, gym: str | Sequence[Event], seed: int, plan: Plan | None = None
) -> dict[str, object]:
    """Fit `model.effect` to the training episodes of a gym's directory; returns figures."""
    plan = plan or Plan()
    happened = training(gym) if isinstance(gym, str) else list(gym)
    lesson = learnable(model.eval(), happened)
    steps, shift, figures = _left_out(model, lesson, plan, seed)
    head = _learned(model, lesson.examples, plan, (steps, seed))[-1]
    model.effect.load_state_dict(_widened(head, shift))
    return {
        "events": len({(e.episode.id, e.action) for e in happened}),
        "episodes": len({e.episode.id for e in happened}),
        "seeds": len(np.unique(lesson.told.seed)),
        "steps": steps,
        "left_out_seeds": {k: round(v, 4) for k, v in figures.items()},
    }


def training(directory: str) -> list[Event]:
    """What the episodes that may be learned from show, at every pace."""
    found = list(
        events(directory, [e for e in read_manifest(directory) if e.split == "train"], PACES)
    )
    if not any(_judged(e) for e in found):
        raise SettingError(f"{directory}: no action with a twin to learn from")
    return found


def _judged(event: Event) -> bool:
    return event.dt_s > 0.75 * PACES[0]


@torch.no_grad()
def learnable(model: WorldModel, happened: Sequence[Event]) -> Lesson:
    """Run the frozen network once over every event."""
    told = outcomes.rows(happened)
    size = outcomes.units(told)
    sizes = np.stack([size[key] for key in told.key])
    parts: list[tuple[Tensor, ...]] = []
    for event in happened:
        now, _ = event.prepared()
        feeds = to_feeds(now)
        tokens = model.encoder(*feeds[:3])
        queries = model.predictor(tokens, feeds.anchors[0], feeds.season[0])
        parts.append((queries, feeds.action[0], feeds.effects[0], *_later(model, event)))
    queries, action, effects, later, seen = (torch.cat(p) for p in zip(*parts, strict=True))
    actual = told.effect / told.unit
    doing = outcomes.clear(told)
    clear = np.stack([doing[key] for key in told.key])
    quiet = sizes / (sizes + told.noise[:, None])
    weight = quiet * np.where(clear, 1, _UNCLEAR) * told.unit / sizes * np.isfinite(actual)
    # A wild answer pulls as one of `_WILDEST` does; what never changes by a unit hardly pulls.
    most = np.minimum(_WILDEST / np.maximum(np.abs(np.nan_to_num(actual)), 1e-9), _LOUDEST)
    weight = np.minimum(weight, most)
    known = torch.from_numpy(np.nan_to_num(actual).astype(np.float32))
    examples = Examples(
        queries, action, effects, known, torch.from_numpy(weight.astype(np.float32)), later, seen
    )
    judged = np.repeat([_judged(e) for e in happened], [len(e.names) for e in happened])
    return Lesson(examples, told, judged)


def _later(model: WorldModel, event: Event) -> tuple[Tensor, Tensor]:
    """What the encoder makes of the acted machine at each horizon: [C, H, D], [C, H] known."""
    came, known = [], []
    for h in HORIZONS:
        path = event.acted[None, :, h : h + CONTEXT]
        feeds = to_feeds(prepare(path, np.array([event.dt_s])))
        came.append(latent(model.encoder(*feeds[:3])))
        known.append(torch.from_numpy(np.isfinite(event.acted[:, h + CONTEXT - 1])).float())
    return torch.stack(came, 1), torch.stack(known, 1)


def _learned(
    model: WorldModel, examples: Examples, plan: Plan, until: tuple[int, int]
) -> list[State]:
    """The head's averaged weights at first, every `_CHECKED` steps and at last."""
    steps, seed = until
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    head = EffectHead(model.shape)
    with torch.no_grad():
        head.linear.bias[: model.shape.effects] = plan.trusted
    averaged = copy.deepcopy(head)
    optimiser = torch.optim.AdamW(head.parameters(), lr=plan.peak, weight_decay=plan.decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.peak, total_steps=plan.steps + 1)
    out: list[State] = [copy.deepcopy(averaged.state_dict())]
    for step in range(1, steps + 1):
        some = examples.of(draw.integers(0, len(examples.action), _BATCH))
        loss = _loss(model, head, some, plan)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        rates.step()
        with torch.no_grad():
            share = 1 - min(plan.average, step / (step + 10))
            mine: list[Tensor] = list(averaged.parameters())
            torch._foreach_lerp_(mine, list(head.parameters()), share)
        if step % _CHECKED == 0 or step == steps:
            out.append(copy.deepcopy(averaged.state_dict()))
    return out


def _loss(model: WorldModel, head: EffectHead, e: Examples, plan: Plan) -> Tensor:
    shown = torch.rand(len(e.action), 1, 1) >= plan.blind
    queries = torch.where(shown, e.queries, e.queries.mean(0))  # of the horizon, and no more
    effect, shift = head(queries, e.action, e.effects)
    levels = torch.tensor(QUANTILES)
    error = e.actual[..., None] - effect
    missed = torch.maximum(levels * error, (levels - 1) * error).sum(-1) * e.weight
    few, seen = slice(_BATCH // 4), e.seen[: _BATCH // 4]  # a latent is dear
    z_hat = model.predictor.z_hat(e.queries[few] + shift[few])
    apart = functional.l1_loss(z_hat, e.later[few], reduction="none").mean(-1) * seen
    return missed.sum() / (e.weight > 0).sum() + plan.latent * apart.sum() / seen.sum().clamp(min=1)


@dataclass(frozen=True, slots=True)
class _Fold:
    """Seeds left out, and the heads that never saw them."""

    taught: NDArray[np.intp]
    asked: NDArray[np.intp]
    states: list[State]  # every `_CHECKED` steps


def _left_out(
    model: WorldModel, lesson: Lesson, plan: Plan, seed: int
) -> tuple[int, float, dict[str, float]]:
    """Steps and width that serve seeds best that were not learned from, and how well."""
    seeds = np.unique(lesson.told.seed)
    fold = np.searchsorted(seeds, lesson.told.seed) % _FOLDS
    folds = []
    for k in range(min(_FOLDS, len(seeds)) if len(seeds) > 1 else 0):
        taught, asked = np.flatnonzero(fold != k), np.flatnonzero((fold == k) & lesson.judged)
        states = _learned(model, lesson.examples.of(taught), plan, (plan.steps, seed))
        folds.append(_Fold(taught[lesson.judged[taught]], asked, states))
    checks = len(folds[0].states) if folds else 0
    scores = [_score(model, lesson, folds, (i, 0.0)) for i in range(checks)]
    if not scores or not np.isfinite([s["ratio"] for s in scores]).all():
        return plan.steps, 0.0, {}  # too few events to tell
    best = int(np.argmin([s["ratio"] for s in scores]))
    widths = {w: _score(model, lesson, folds, (best, w)) for w in _WIDTHS}
    width = min(widths, key=lambda w: abs(widths[w]["coverage"] - _COVERED))
    return min(best * _CHECKED, plan.steps), width, widths[width]


def _score(
    model: WorldModel, lesson: Lesson, folds: Sequence[_Fold], which: tuple[int, float]
) -> dict[str, float]:
    found = []
    for f in folds:
        state = _widened(f.states[which[0]], which[1])
        taught, asked = lesson.told.of(f.taught), lesson.told.of(f.asked)
        said = foretell(model, state, lesson.examples.of(f.asked)) * asked.unit[..., None]
        found += outcomes.verdicts(taught, asked, said)
    return outcomes.overall(found)


@torch.no_grad()
def foretell(model: WorldModel, state: State, examples: Examples) -> Floats:
    """What a head of these weights says: [N, H, 3]."""
    head = EffectHead(model.shape)
    head.load_state_dict(state)
    said: Floats = head(examples.queries, examples.action, examples.effects)[0].double().numpy()
    return said


def _widened(state: State, by: float) -> State:
    """The same head with wider (or narrower) intervals."""
    out = {k: v.clone() for k, v in state.items()}
    out["linear.bias"][-4:] += by
    return out
