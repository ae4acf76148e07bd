"""A video as it comes, frame by frame: what a model says of it without starting over each time.

Owns: what is kept between frames, and that an approximation says what it costs.
Does not know: where frames come from, batches, sockets.

FrameStream and WindowStream are faithful: they give what the model gives on the same frames at
once. SkippingStream does not, and measures by how much.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepad.errors import NotReady, SettingError
from jepad.jepa.video.rollout import Moment
from jepad.scene.backend import Backend, Floats
from jepad.scene.eye import Eye, Frames
from jepad.scene.model import Model
from jepad.scene.normal import normed
from jepad.vision.grid import Grid


class _Seen(NamedTuple):
    """A frame that was followed by another."""

    tokens: Floats  # [K, D], layer-normed
    state: Floats  # [S]
    action: Floats  # [A]


class FrameStream:
    """2-AC: every frame is encoded alone and once; the predictor is causal, so its keys and values
    of past frames are kept. Exactly the model over the frames since the first one kept.

    At most `most` of them: then the older half is let go, and the past made anew of the other.
    Not for several threads.
    """

    def __init__(self, backend: Backend, most: int = 16) -> None:
        self._model = Model(backend.manifest)
        self._model.deciding()
        if most < 2:
            raise SettingError(f"a stream of {most} frames has no past: at least 2")
        self._backend, self._most, self._eye = backend, most, Eye(self._model)
        self._behind: deque[_Seen] = deque()
        self._past: object = None
        self._now: Floats | None = None

    @property
    def frames(self) -> int:
        """How many the predictor sees, the newest included."""
        return len(self._behind) + (self._now is not None)

    def see(self, frame: Frames) -> Floats:
        """The newest frame, uint8 [H, W, 3] -> its tokens [K, D], layer-normed. One seen without an
        `acted` since replaces the one before."""
        seen = self._eye.look(frame[None])
        self._now = normed(
            self._backend.encode(seen.patches, self._model.whole(seen.grid)).tokens[0]
        )
        return self._now

    def moment(self, state: Floats) -> Moment:
        """Here and now, to imagine actions from (`rollout`): arrays of the backend, the past in
        them. NotReady: no frame was seen."""
        tokens = self._newest()
        put = self._backend.put
        return Moment(put(tokens[None]), put(state[None]), self._past, len(self._behind))

    def acted(self, state: Floats, action: Floats) -> Floats:
        """What was done at the newest frame, state [S] and action [A] -> the frame the model
        expects after it, [K, D], layer-normed; the newest is of the past now."""
        now = _Seen(self._newest(), np.asarray(state, np.float32), np.asarray(action, np.float32))
        if len(self._behind) + 1 >= self._most:
            self._shorten()
        expected = self._step(now)
        self._now = None
        return expected

    def _step(self, seen: _Seen) -> Floats:
        put = self._backend.put
        now = Moment(put(seen.tokens[None]), put(seen.state[None]), self._past, len(self._behind))
        following, self._past = self._backend.act(now, put(seen.action[None]), True)
        self._behind.append(seen)
        out: Floats = self._backend.get(following)[0]
        return out

    def _shorten(self) -> None:
        kept = list(self._behind)[-(self._most // 2) :]
        self._behind.clear()
        self._past = None
        for seen in kept:
            self._step(seen)

    def _newest(self) -> Floats:
        if self._now is None:
            raise NotReady("no frame was seen since the last action")
        return self._now


class WindowStream:
    """2.0 and 2.1: the clip of the last frames, encoded whole whenever a tubelet is complete.

    Attention runs both ways in time, so nothing but the patches can be kept. Not for several
    threads.
    """

    def __init__(self, backend: Backend, frames: int = 0) -> None:
        """`frames` of the window, a multiple of the tubelet; 0 = what the model was trained on."""
        self._backend = backend
        self._model = _clips_only(backend)
        shape = self._model.encoder
        window = shape.grid_of(frames or shape.frames, shape.size, shape.size)
        self._eye, self._started = Eye(self._model), list[Frames]()
        self._tubelets: deque[Floats] = deque(maxlen=window.steps)

    def see(self, frame: Frames) -> Floats | None:
        """The newest frame, uint8 [H, W, 3] -> tokens [K, D] of the window that ends with it, while
        it fills of what there is; None between tubelets."""
        if not self._add(frame):
            return None
        patches, grid = self._clip()
        tokens: Floats = self._backend.encode(patches, self._model.whole(grid)).tokens[0]
        return tokens

    def _add(self, frame: Frames) -> bool:
        if self._started and self._started[0].shape != frame.shape:
            raise SettingError(
                f"a frame of {frame.shape} after one of {self._started[0].shape} in a stream"
            )
        self._started.append(frame)
        if len(self._started) < self._model.encoder.tubelet:
            return False
        self._tubelets.append(self._eye.look(np.stack(self._started)).patches[0])
        self._started.clear()
        return True

    def _clip(self) -> tuple[Floats, Grid]:
        frame = self._model.frame
        grid = Grid(len(self._tubelets), frame.rows, frame.columns)
        return np.concatenate(list(self._tubelets))[None], grid


@dataclass(frozen=True, slots=True)
class Skipping:
    """How much is skipped."""

    #: Mean |change| of a patch's normalised values from which on it is encoded again; .1 is about
    #: six grey levels.
    change: float = 0.1
    #: Share of the unchanged patches that is encoded along, evenly spread: what the changed ones
    #: attend to.
    context: float = 0.1
    #: Every so many windows all is encoded, and the error of skipping measured there.
    refresh: int = 16

    def __post_init__(self) -> None:
        if not (self.change >= 0 and 0 <= self.context <= 1 and self.refresh >= 1):
            raise SettingError(f"skipping wants change ≥ 0, context of 0 to 1, refresh ≥ 1: {self}")


@dataclass(frozen=True, slots=True)
class Apart:
    """How far skipping was from the faithful tokens of the same window."""

    pooled: float  # cosine of the mean token
    worst: float  # of the worst token
    relative: float  # |difference| of all tokens, beside |faithful|


class Skipped(NamedTuple):
    """An approximation of a window's tokens."""

    tokens: Floats  # [K, D]
    encoded: int  # tokens that were computed for it
    error: Apart | None  # where it was measured last; None: not yet


class SkippingStream:
    """An approximation: a window's patches that look as they did in the window before keep their
    tokens; the others are encoded as if nothing else but some context were there. For a camera
    that stands still. Not for several threads.
    """

    def __init__(self, backend: Backend, how: Skipping = Skipping()) -> None:
        self._backend, self._how = backend, how
        self._model = _clips_only(backend)
        self._eye = Eye(self._model)
        self._patches: Floats | None = None  # [K, P], those the tokens were computed from
        self._tokens: Floats | None = None
        self._windows = 0
        self.error: Apart | None = None

    def see(self, frames: Frames) -> Skipped:
        """A window, uint8 [T, H, W, 3]; one of another size starts anew."""
        seen = self._eye.look(frames)
        patches, count = seen.patches[0], seen.patches.shape[1]
        before, tokens = self._patches, self._tokens
        turn = self._windows % self._how.refresh == 0
        self._windows += 1
        if before is None or tokens is None or before.shape != patches.shape:
            self._windows, self.error = 1, None
            return self._take(patches, self._whole(patches, seen.grid), count)
        changed = np.abs(patches - before).mean(1) > self._how.change
        mixed, encoded = self._mixed(patches, seen.grid, changed, tokens)
        if turn:
            exact = self._whole(patches, seen.grid)
            self.error = apart(exact, mixed)
            return self._take(patches, exact, count)
        return self._take(np.where(changed[:, None], patches, before), mixed, encoded)

    def _take(self, patches: Floats, tokens: Floats, encoded: int) -> Skipped:
        self._patches, self._tokens = patches, tokens
        return Skipped(tokens, encoded, self.error)

    def _whole(self, patches: Floats, grid: Grid) -> Floats:
        tokens: Floats = self._backend.encode(patches[None], self._model.whole(grid)).tokens[0]
        return tokens

    def _mixed(
        self, patches: Floats, grid: Grid, changed: NDArray[np.bool_], tokens: Floats
    ) -> tuple[Floats, int]:
        """Tokens of the changed patches beside the kept ones; how many were encoded."""
        if not changed.any():
            return tokens, 0
        still = np.flatnonzero(~changed)
        spread = np.linspace(0, len(still) - 1, round(len(still) * self._how.context))
        along = still[np.unique(spread.round().astype(np.int64))]
        keep = np.sort(np.concatenate([np.flatnonzero(changed), along]))
        made = self._backend.encode(patches[None, keep], self._model.kept(grid, keep)).tokens[0]
        out = tokens.copy()
        fresh = changed[keep]  # the context's own tokens saw less than the kept ones
        out[keep[fresh]] = made[fresh]
        return out, len(keep)


def apart(exact: Floats, got: Floats) -> Apart:
    """Tokens [K, D] beside tokens."""
    means = _cosine(exact.mean(0, keepdims=True), got.mean(0, keepdims=True))
    size = float(np.linalg.norm(exact)) or 1.0
    off = float(np.linalg.norm(exact - got)) / size
    return Apart(float(means[0]), float(_cosine(exact, got).min()), off)


def _cosine(one: Floats, other: Floats) -> NDArray[np.float64]:
    a, b = one.astype(np.float64), other.astype(np.float64)
    sizes = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(1) / np.maximum(sizes, 1e-30))


def _clips_only(backend: Backend) -> Model:
    model = Model(backend.manifest)
    if model.acting:
        raise SettingError(
            f"model {backend.manifest.name} sees each frame alone: stream it frame by frame"
        )
    return model
