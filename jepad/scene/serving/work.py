"""What each question needs of the model, step by step.

Owns: the way from frames to an answer, which results are kept. Does not know: batches, sockets,
when anything runs: it yields what it needs (batch.py).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepad.errors import SettingError
from jepad.jepa.video.rollout import Moment, World, rollout
from jepad.planning.pose import mover
from jepad.scene import wire
from jepad.scene.backend import Backend, Encoded, Floats
from jepad.scene.budget import Budget, work
from jepad.scene.eye import Eye, Frames, streamed
from jepad.scene.model import Model
from jepad.scene.normal import normed
from jepad.scene.placement import cpu
from jepad.scene.serving.batch import (
    MAX_BATCH,
    MAX_TOKENS,
    Alone,
    Classify,
    Encode,
    Predict,
    Steps,
)
from jepad.scene.serving.cache import Cache, Key, digest

Parts = Sequence[bytes]
#: Whatever there is.
ALL = Budget()
#: The mask token that published files trained; the others are zero in them (Meta's forward takes
#: number 1 unless told).
MASK_INDEX = 0


class Result(NamedTuple):
    """An answer's arrays."""

    values: NDArray[np.float32]
    grid: tuple[int, int, int]
    cached: bool = False
    states: NDArray[np.float32] | None = None
    classes: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()


class Work:
    """Of one model; one thread uses it."""

    def __init__(self, model: Model, prefix: str, budget: Budget = ALL) -> None:
        """`budget`: of work, the weights held."""
        self.model, self.cache = model, Cache()
        self._eye, self.prefix, self._budget = Eye(model), prefix, budget

    def embed(self, asked: wire.EmbedFrames, parts: Parts) -> Steps:
        """-> Result [K, D] or, pooled, [D]; with the most probable classes if wished."""
        if asked.classes:
            self.model.naming()
        frames = self.frames(asked.frames, parts)
        keep = None if asked.keep is None else _kept(wire.unpack(asked.keep, parts))
        tokens, cached, steps = yield from self.tokens(frames, keep)
        frame = self.model.frame
        values, grid = _pooled(tokens, asked.pool), (steps, frame.rows, frame.columns)
        if not asked.classes:
            return Result(values, grid, cached)
        found = yield from self._classes(tokens)
        best = np.argsort(-found, kind="stable")[: asked.classes]
        return Result(values, grid, cached, None, tuple(best.tolist()), tuple(found[best].tolist()))

    def temporal(self, asked: wire.PredictTemporal, parts: Parts) -> Steps:
        """-> Result [ahead * rows * columns, output]."""
        model = self.model
        model.predicting()
        frames = self.frames(asked.frames, parts)
        key = Key(model.digest, digest([frames]), asked.ahead)
        frame = model.frame
        grid = (asked.ahead, frame.rows, frame.columns)
        found = self.cache.get(key)
        if found is not None:
            return Result(_pooled(found, asked.pool), grid, True)
        steps = len(frames) // model.encoder.tubelet
        if not steps:
            raise SettingError(
                f"one frame has no motion to go on: give {model.encoder.tubelet} or more"
            )
        self._affords((steps + asked.ahead) * frame.tokens)
        if model.levelled:
            seen = self._eye.look(frames)
            encoded = yield Encode(seen.patches, model.whole(seen.grid), True, key.inputs)
            self.cache.put(key._replace(horizon=0), encoded.tokens[0])
            context = encoded.levels
        else:
            tokens, _, _ = yield from self.tokens(frames)
            context = tokens[None]
        clip = model.encoder.grid_of(len(frames), model.encoder.size, model.encoder.size)
        made = yield Predict(context, model.ahead(clip, asked.ahead), MASK_INDEX, key)
        self.cache.put(key, made[0])
        return Result(_pooled(made[0], asked.pool), grid)

    def action(self, asked: wire.PredictAction, parts: Parts) -> Steps:
        """-> Result [H, K, D], layer-normed, and states [H, S]."""
        shape = self.model.deciding()
        actions = wire.floats_of(asked.actions, parts, "H A")
        if actions.shape[1] != shape.actions or len(actions) > wire.MAX_HORIZON:
            raise SettingError(
                f"actions are [H, {shape.actions}] for this model, H at most {wire.MAX_HORIZON}, "
                f"not {list(actions.shape)}"
            )
        frames = self.frames(asked.frames, parts)
        past = len(frames) - 1
        if past and (len(asked.state) != len(frames) * shape.states or len(actions) <= past):
            raise SettingError(
                f"{len(frames)} frames: give a state of {shape.states} numbers for each, and the "
                f"{past} actions that led from one to the next before those that are asked about "
                f"({len(asked.state)} numbers and {len(actions)} actions came); or one frame alone"
            )
        states = self.state(asked.state) if not past else np.array(asked.state, np.float32)
        clip, _, _ = yield from self.tokens(frames)
        tokens = clip.reshape(past + 1, -1, clip.shape[1])
        values, after = yield Alone(self._imagined(tokens, states.reshape(past + 1, -1), actions))
        frame = self.model.frame
        return Result(values, (len(actions) - past, frame.rows, frame.columns), states=after)

    def _imagined(
        self, tokens: Floats, states: Floats, actions: Floats
    ) -> Callable[[Backend], tuple[Floats, Floats]]:
        """Of frames [F, K, D] and their states [F, S], the last of them here and now, and actions
        [F - 1 + H, A]: what each of the last H leads to."""
        bounds = self.model.bounds()

        def run(backend: Backend) -> tuple[Floats, Floats]:
            put, last = backend.put, len(tokens) - 1
            now = Moment(put(tokens[:1]), put(states[:1]))
            for t in range(last):
                _, past = backend.act(now, put(actions[t : t + 1]), True)
                seen = slice(t + 1, t + 2)
                now = Moment(put(tokens[seen]), put(states[seen]), past, t + 1)
            world = World(backend.act, mover(bounds, backend.xp, putter(backend)))
            after = rollout(world, now, put(actions[None, last:]))[1:]
            found = [(backend.get(m.tokens)[0], backend.get(m.state)[0]) for m in after]
            return np.stack([f[0] for f in found]), np.stack([f[1] for f in found])

        return run

    def tokens(
        self, frames: Frames, keep: NDArray[np.uint32] | None = None
    ) -> Generator[Any, Any, tuple[Floats, bool, int]]:
        """Tokens [K, D] of a clip, of all its frames (2-AC: layer-normed); whether they were known
        already; steps in time."""
        arrays: list[NDArray[Any]] = [frames] if keep is None else [frames, keep]
        key = Key(self.model.digest, digest(arrays))
        acting, tubelet = self.model.acting, self.model.encoder.tubelet
        found = self.cache.get(key)
        if found is not None:
            return found, True, len(frames) if acting else max(1, len(frames) // tubelet)
        seen = self._eye.look(frames)
        patches, tables = seen.patches, self.model.whole(seen.grid)
        if keep is not None:
            tables = self.model.kept(seen.grid, keep)
            patches = patches[:, keep]
        self._affords(min(len(patches), MAX_BATCH) * patches.shape[1])
        made = []
        for i in range(0, len(patches), MAX_BATCH):
            encoded: Encoded = yield Encode(patches[i : i + MAX_BATCH], tables, False, (key, i))
            made.append(encoded.tokens)
        tokens = np.concatenate(made) if len(made) > 1 else made[0]
        tokens = normed(tokens) if acting else tokens
        tokens = tokens.reshape(-1, tokens.shape[-1])
        self.cache.put(key, tokens)
        return tokens, False, seen.steps

    def _classes(self, tokens: Floats) -> Generator[Any, Any, NDArray[np.float64]]:
        """The probability of every class."""
        key = Key(self.model.digest, digest([tokens], "classes"))
        logits = self.cache.get(key)
        if logits is None:
            logits = (yield Classify(tokens[None], key))[0]
            self.cache.put(key, logits)
        apart = np.exp(logits.astype(np.float64) - logits.max())
        found: NDArray[np.float64] = apart / apart.sum()
        return found

    def last(self, frames: Frames) -> Generator[Any, Any, Floats]:
        """Layer-normed tokens [K, D] of the last frame alone."""
        tokens, _, _ = yield from self.tokens(frames[-1:])
        return tokens

    def state(self, told: Sequence[float]) -> Floats:
        """[S]; SettingError: of another length than the model's."""
        wanted = self.model.deciding().states
        if len(told) != wanted:
            raise SettingError(f"a state of this model has {wanted} numbers, not {len(told)}")
        return np.array(told, np.float32)

    def frames(self, clip: wire.Clip, parts: Parts) -> Frames:
        """uint8 [T, H, W, 3], wherever they are."""
        if isinstance(clip, wire.Streamed):
            return streamed(self.prefix, clip)
        return wire.frames_of(clip, parts)

    def _affords(self, tokens: int) -> None:
        if tokens > MAX_TOKENS:
            raise SettingError(f"{tokens} tokens at once: at most {MAX_TOKENS}; give fewer frames")
        # The weights are in memory already; a device's own memory its backend watches.
        need, what = work(self.model, tokens), f"encoding {tokens} tokens"
        self._budget.check(need, cpu().free_bytes, what)

    def most(self) -> int:
        """Tokens that may be in one run now."""
        room = self._budget.room(cpu().free_bytes)
        return min(MAX_TOKENS, room // work(self.model, 1))


def putter(backend: Backend) -> Callable[[Any], Any]:
    """Numbers, however nested, as an array of the backend's."""
    return lambda values: backend.put(np.asarray(values, np.float32))


def _kept(keep: NDArray[Any]) -> NDArray[np.uint32]:
    """Indices of tokens, each once. Whether they are in the grid, positions say."""
    if keep.dtype != np.uint32 or keep.ndim != 1:
        raise SettingError(f"keep is uint32 [K], not {keep.dtype} {list(keep.shape)}")
    if len(np.unique(keep)) != len(keep):
        raise SettingError("keep names a token twice")
    return keep


def _pooled(tokens: Floats, pool: str) -> Floats:
    if pool == "tokens" and tokens.nbytes > wire.MAX_REPLY_BYTES:
        raise SettingError(
            f"{len(tokens)} tokens are over {wire.MAX_REPLY_BYTES >> 20} MiB: pool them, or "
            "give fewer frames"
        )
    return tokens if pool == "tokens" else tokens.mean(0, dtype=np.float64).astype(np.float32)
