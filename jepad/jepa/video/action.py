"""The action-conditioned predictor of V-JEPA 2-AC: the next frame's tokens, from this and the
earlier frames, what was done and the state it was done in.

Owns: the network, its keys and values of past frames. Does not know: how tokens were encoded, how
an action moves the state.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from jepad.errors import SettingError
from jepad.jepa.attention import Block, KeysValues, Turn
from jepad.jepa.target import normed
from jepad.jepa.video.rollout import Moment
from jepad.jepa.video.shape import ActionShape
from jepad.jepa.video.steps import CONDITIONS, places
from jepad.vision.grid import Grid, Rope, tables

#: Keys and values of the frames so far, one pair a block.
Past = tuple[KeysValues, ...]


class Given(NamedTuple):
    """What a step is conditioned on, [B, ·]; of several steps [B, T, ·]."""

    action: Tensor
    state: Tensor
    extrinsics: Tensor | None = None  # of the camera; wanted by a shape with `extrinsics`

    def at(self, steps: int | slice) -> Given:
        """Of [B, T, ·], one step [B, ·] or some of them."""
        camera = self.extrinsics
        return Given(
            self.action[:, steps],
            self.state[:, steps],
            None if camera is None else camera[:, steps],
        )


class ActionPredictor(nn.Module):
    """Attention is full inside a step and causal over steps. Parameters as Meta names them;
    `extrinsics_encoder` is always among them, used or not."""

    def __init__(self, shape: ActionShape) -> None:
        super().__init__()
        self.shape = shape
        self.predictor_embed = nn.Linear(shape.source, shape.width)
        self.action_encoder = nn.Linear(shape.actions, shape.width)
        self.state_encoder = nn.Linear(shape.states, shape.width)
        self.extrinsics_encoder = nn.Linear(max(shape.actions - 1, 1), shape.width)
        self.predictor_blocks = nn.ModuleList(Block(shape.block) for _ in range(shape.depth))
        self.predictor_norm = nn.LayerNorm(shape.width, eps=shape.block.eps)
        self.predictor_proj = nn.Linear(shape.width, shape.source)

    @property
    def conditions(self) -> int:
        """Tokens of a step before its patches."""
        return CONDITIONS + self.shape.extrinsics

    def turn(self, first: int, steps: int = 1, grid: Grid | None = None) -> Turn:
        """Rotary tables of `steps` steps from `first` on, on the device and in the precision of
        the parameters; kept. `grid` (default: the shape's) says rows and columns of a frame."""
        whole = grid or self.shape.grid
        frame = Grid(1, whole.rows, whole.columns)
        like = self.predictor_norm.weight
        span = (first, steps, self.conditions)
        return _turn(self.shape.rope, frame, span, (str(like.device), like.dtype))

    def forward(self, tokens: Tensor, given: Given, grid: Grid | None = None) -> Tensor:
        """tokens [B, T*K, source] of T frames, given [B, T, ·] -> [B, T*K, source]: of each
        frame, what the next will be, raw (`normed` makes it a token again).

        SettingError: tokens or states that are of other steps than the actions.
        """
        whole = grid or self.shape.grid
        frame = whole.frame
        steps = given.action.shape[1]
        if tokens.shape[1] != steps * frame:
            raise SettingError(
                f"{tokens.shape[1]} tokens for {steps} actions: frames of {whole.rows}×"
                f"{whole.columns} patches have {frame} each"
            )
        if given.state.shape[1] != steps:
            raise SettingError(
                f"states of {given.state.shape[1]} steps beside actions of {steps}: one of each"
            )
        x = self.predictor_embed(tokens).unflatten(1, (steps, frame))
        x = torch.cat([*self._told(given), x], 2)
        size = x.shape[2]
        hidden = _later(steps, size, x) if steps > 1 else None
        x, turn = x.flatten(1, 2), self.turn(0, steps, whole)
        for block in self.predictor_blocks:
            x = block(x, hidden, turn=turn)
        return self._read(x.unflatten(1, (steps, size))[:, :, -frame:].flatten(1, 2))

    def step(
        self, tokens: Tensor, given: Given, past: Past | None, turn: Turn, keep: bool = True
    ) -> tuple[Tensor, Past]:
        """One frame on top of its past: tokens [B, K, source], given [B, ·], turn
        `self.turn(t)` -> the next frame, raw, and the past of the next step; empty unless `keep`
        (2-AC's is 25 MB a frame and action in bfloat16).

        Equal to `forward` to rounding. Tokens and past of a batch of one are shared by all of
        `given`: many actions may be tried from one frame.
        """
        told = self._told(given)
        batch = told[0].shape[0]
        x = self.predictor_embed(tokens).expand(batch, -1, -1)
        x = torch.cat([*told, x], 1)
        present = []
        for i, block in enumerate(self.predictor_blocks):
            before = _shared(past[i], batch) if past else None
            x, kept = cast(Block, block).step(x, turn, before)
            if keep:
                present.append(kept)
        return self._read(x[:, self.conditions :]), tuple(present)

    def act(self, now: Moment, action: Tensor, keep: bool) -> tuple[Tensor, Past]:
        """`step` as `rollout`'s World wants it: the next frame layer-normed."""
        given = Given(action, now.state)
        following, past = self.step(now.tokens, given, now.past, self.turn(now.t), keep)
        return normed(following), past

    def _told(self, given: Given) -> list[Tensor]:
        """The condition tokens, in order: [B, (T,) 1, width] each."""
        told: list[Tensor] = [self.action_encoder(given.action), self.state_encoder(given.state)]
        if self.shape.extrinsics:
            if given.extrinsics is None:
                raise SettingError("this predictor wants the camera's extrinsics at every step")
            told.append(self.extrinsics_encoder(given.extrinsics))
        return [token[..., None, :] for token in told]

    def _read(self, x: Tensor) -> Tensor:
        out: Tensor = self.predictor_proj(self.predictor_norm(x))
        return out


def _shared(past: KeysValues, batch: int) -> KeysValues:
    return KeysValues(*(x.expand(batch, -1, -1, -1) for x in past))


def _later(steps: int, size: int, like: Tensor) -> Tensor:
    """[steps*size, steps*size]: what a token of each step mustn't see, as -inf."""
    step = torch.arange(steps, device=like.device).repeat_interleave(size)
    hidden = torch.zeros(len(step), len(step), dtype=like.dtype, device=like.device)
    return hidden.masked_fill(step[:, None] < step, -torch.inf)


@lru_cache(maxsize=64)
def _turn(
    rope: Rope, frame: Grid, span: tuple[int, int, int], kind: tuple[str, torch.dtype]
) -> Turn:
    cos, sin = tables(rope, places(frame, *span))
    with torch.inference_mode(False):  # or what is made while serving could never train
        return Turn(torch.from_numpy(cos).to(*kind), torch.from_numpy(sin).to(*kind))
