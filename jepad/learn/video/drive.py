"""What the toy model is worth: closed loops from random places to random goals, by its own plans.

Owns: the loop, the count. Does not know: how the model was trained, engines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jepad.jepa.video.action import ActionPredictor
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.rollout import Moment, World, rollout
from jepad.jepa.video.training import encode_frames
from jepad.planning import energy, toy
from jepad.planning.bounds import TOY
from jepad.planning.cem import Draws, Planner, Settings, plan
from jepad.planning.pose import mover
from jepad.vision.preprocess import normalised

#: Of the search that the shipped model was measured with. One step ahead: only the end of a plan
#: is compared with the goal, so of two steps the first may as well lead away from it and back.
SEARCH = Settings(samples=64, elites=8, iterations=6, horizon=1)
#: More than the longest way, from corner to corner, takes.
STEPS = 16


@dataclass(frozen=True, slots=True)
class Drive:
    """One way to a goal."""

    distances: list[float]  # before the first step and after each

    @property
    def arrived(self) -> bool:
        """Whether it ended at the goal; having been there doesn't count."""
        return self.distances[-1] <= toy.ARRIVED

    @property
    def touched(self) -> bool:
        """Whether it was there at any step."""
        return min(self.distances) <= toy.ARRIVED


@dataclass(frozen=True, slots=True)
class Model:
    """Encoder and predictor, as they plan."""

    encoder: VideoEncoder
    predictor: ActionPredictor


def clips(states: toy.Floats) -> Tensor:
    """states [B, T, 2] -> their pictures as a clip [B, 3, T, SIDE, SIDE], normalised."""
    pixels = normalised(toy.render(states).reshape(-1, toy.SIDE, toy.SIDE, 3))
    shaped = pixels.reshape(*states.shape[:2], toy.SIDE, toy.SIDE, 3)
    return torch.from_numpy(np.ascontiguousarray(shaped.transpose(0, 4, 1, 2, 3)))


def tokens(model: Model, state: toy.Floats) -> Tensor:
    """Of the picture of one state: [1, K, D], layer-normed."""
    return encode_frames(model.encoder, clips(state[None, None]))


def energies(model: Model, state: toy.Floats, goal: toy.Floats) -> energy.Energy:
    """actions [S, H, 2] from a state -> how far they end from the picture of the goal, [S]."""
    world = World(model.predictor.act, mover(TOY, torch, _array))
    now, wanted = Moment(tokens(model, state), _array(state[None])), tokens(model, goal)

    @torch.no_grad()
    def energies_of(actions: Tensor) -> Tensor:
        found: Tensor = energy.l1(rollout(world, now, actions)[-1].tokens, wanted)
        return found

    return energies_of


def drive(model: Model, start: toy.Floats, goal: toy.Floats, settings: Settings = SEARCH) -> Drive:
    """STEPS steps, each the first of a plan made anew from the picture of where it is."""
    state, distances = start, [float(toy.distance(start, goal))]
    for _ in range(STEPS):
        planner = Planner(TOY, settings, Draws(settings.seed, _array))
        found = plan(planner, energies(model, state, goal))
        state = toy.step(state, found.action[0])
        distances.append(float(toy.distance(state, goal)))
    return Drive(distances)


def drives(model: Model, count: int, seed: int) -> list[Drive]:
    """From random states to random goals."""
    random = np.random.default_rng(seed)
    pairs = [toy.random_states(2, random) for _ in range(count)]
    return [drive(model, start, goal) for start, goal in pairs]


def _array(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)
