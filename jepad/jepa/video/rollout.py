"""What a sequence of actions leads to, step by step, as the world model imagines it.

Owns: the loop, the past that is carried along. Does not know: torch or numpy, how a model is run,
how an action moves a state: callables say it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

#: A torch tensor or a numpy array.
Array = Any
#: What a model keeps of the frames so far; its own.
Past = Any


class Moment(NamedTuple):
    """A frame and the state it was in. A batch of one is shared by all actions."""

    tokens: Array  # [1 or B, K, D], layer-normed
    state: Array  # [1 or B, S]
    past: Past = None  # of the frames before
    t: int = 0  # steps since the first frame of the past


@dataclass(frozen=True, slots=True)
class World:
    """A world model with its past, and the body that acts in it."""

    #: moment, action [B, A], whether the past will be asked for -> the next frame's tokens
    #: [B, K, D], layer-normed, and the past with the moment in it (else None)
    act: Callable[[Moment, Array, bool], tuple[Array, Past]]
    #: state [B, S], action [B, A] -> the next state [B, S]
    move: Callable[[Array, Array], Array]


def rollout(world: World, start: Moment, actions: Array) -> list[Moment]:
    """actions [B, H, A] -> H + 1 moments: the start, and what each action leads to. Every moment
    costs one step: what was computed of the frames before is not computed again. The past, which
    is large, goes with the loop; to go on from a moment, `act` with its past kept."""
    n, steps = actions.shape[:2]
    state = start.state if start.state.shape[0] == n else start.state[[0] * n]
    now = start._replace(state=state)
    moments = [now._replace(past=None)]
    for i in range(steps):
        tokens, past = world.act(now, actions[:, i], i + 1 < steps)
        now = Moment(tokens, world.move(now.state, actions[:, i]), past, now.t + 1)
        moments.append(now._replace(past=None))
    return moments
