"""The part of org.jepad1.WorldModel that is about pictures; loaded once somebody asks for it.

Owns: what may be passed there, frames taken from descriptors, the shape of these answers.
Does not know: what an embedding means, who computes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from jepad.bus import blobs
from jepad.bus.dispatch import Answer, Call, Rejection
from jepad.bus.jobs import JobObjects, path
from jepad.bus.seam import Variant
from jepad.bus.variants import unwrap, wrap_all
from jepad.errors import RateLimited, SettingError
from jepad.guard import validation
from jepad.policy.jobs import Owner
from jepad.policy.scenes import Manner, Scenes
from jepad.records import Floats32
from jepad.scene import wire
from jepad.scene.client import Answer as Tokens
from jepad.scene.client import Frames, Quest

R = TypeVar("R")
Variants = Mapping[str, Variant]

MAX_FILE_BYTES = validation.MAX_FRAMES_BYTES + blobs.MAX_NPY_HEADER
#: Of frames in the daemon's own memory at a time: of one user, and of all together.
MAX_HELD_OF_ONE, MAX_HELD = 2 * MAX_FILE_BYTES, 3 * MAX_FILE_BYTES
READ_S = 5.0
LEAST_S, MOST_S = 0.01, 60.0
MOST_FPS = 1000.0
MOST = 1e9  # of any number of a state or an action
EMBED = {"pool", "deadline_usec", "count"}
PREDICT = EMBED | {"fps"}
ACT = {"frames", "state", "actions"}
SEARCH = {"samples", "elites", "iterations", "horizon", "momentum", "seed", "landscape"}
PLAN = SEARCH | {"start", "state", "bounds", "deadline_usec"}
TYPES = {"grid": "at", "horizon_usec": "t", "classes": "at", "probabilities": "ad"}


class ScenePart:
    """The methods, but for their names on the bus."""

    def __init__(self, scenes: Scenes, jobs: JobObjects) -> None:
        self._scenes, self._jobs = scenes, jobs
        self._held: Counter[int] = Counter()  # bytes by uid

    async def embed(self, call: Call, frames: Variant, options: Variants) -> Answer:
        """Tokens of a clip, or their mean, as a sealed file; its classes beside it."""
        given = _options(options, EMBED | {"classes"})
        manner = _manner(given)
        async with self._clip(call, frames, given) as clip:
            found = await self._scenes.embed(clip, manner)
        return await _answer("embedding", found)

    async def predict(
        self, call: Call, frames: Variant, horizon_usec: int, options: Variants
    ) -> Answer:
        """Tokens of what follows a clip."""
        given = _options(options, PREDICT)
        manner = _manner(given)
        validation.horizon_us(horizon_usec)
        async with self._clip(call, frames, given) as clip:
            found, taken = await self._scenes.predict(clip, horizon_usec, manner)
        return await _answer("prediction", found, horizon_usec=taken)

    async def act(self, call: Call, parameters: Variants, options: Variants) -> Answer:
        """Tokens of what follows each of some actions."""
        asked, given = _options(parameters, ACT), _options(options, EMBED)
        manner = _manner(given)
        if "frames" not in asked:
            raise SettingError("frames: pass a descriptor, or a stream and a position in it")
        state, actions = (_numbers(asked.get(name), name) for name in ("state", "actions"))
        async with self._clip(call, asked["frames"], given) as clip:
            found = await self._scenes.act(clip, state, actions, manner)
        return await _answer("prediction", found)

    async def plan(self, call: Call, goal: Variants, options: Variants) -> Answer:
        """A job that looks for the action that leads to a goal."""
        wanted, given = _options(goal, {"frames", "embedding"}), _options(options, PLAN)
        if len(wanted) != 1:
            raise SettingError("goal: pass either frames or an embedding")
        if "start" not in given:
            raise SettingError("start: pass the frames to start from")
        search = {name: unwrap(given[name]) for name in SEARCH & given.keys()}
        state, bounds = _numbers(given.get("state", []), "state"), unwrap(given.get("bounds", ""))
        manner = _manner(given)
        self._scenes.room(call.uid)
        async with self._clip(call, given["start"], {}) as start, self._goal(call, wanted) as end:
            quest = Quest(start, end, state, _text(bounds, "bounds"), _searched(search))
            work = await self._scenes.begin(quest, manner)
        try:
            async with self._jobs.staying(call.sender):
                job = self._scenes.follow(Owner(call.uid, call.sender), work)
        except BaseException:
            await self._scenes.drop(work)
            raise
        return Answer([path(job)])

    @contextlib.asynccontextmanager
    async def _clip(self, call: Call, frames: Variant, given: Variants) -> AsyncIterator[Frames]:
        """Frames that a descriptor has, or where they are in a stream; held while in use."""
        count = unwrap(given.get("count", 1))
        if frames.signature == "(sx)":
            name, n = frames.value
            yield _checked(wire.Streamed, {"stream": name, "n": n, "count": count})
            return
        if frames.signature != "h":
            raise SettingError(f"frames are of type h or (sx), not {frames.signature[:40]}")
        if "count" in given:
            raise SettingError("count is of frames in a stream; a file has as many as it has")
        async with self._file(call, frames.value, blobs.frames) as clip:
            yield clip

    @contextlib.asynccontextmanager
    async def _goal(self, call: Call, wanted: Variants) -> AsyncIterator[Any]:
        if "frames" in wanted:
            async with self._clip(call, wanted["frames"], {}) as clip:
                yield clip
            return
        embedding = wanted["embedding"]
        if embedding.signature != "h":
            raise SettingError(f"an embedding is of type h, not {embedding.signature[:40]}")
        async with self._file(call, embedding.value, blobs.tokens) as tokens:
            yield tokens

    @contextlib.asynccontextmanager
    async def _file(
        self, call: Call, index: int, read: Callable[[bytearray], NDArray[Any]]
    ) -> AsyncIterator[NDArray[Any]]:
        """What a descriptor's file holds. A thread reads it, so that a slow disk holds up nobody;
        its memory counts from before it is read until it is let go."""
        if not 0 <= index < len(call.fds):
            raise Rejection("InvalidArgs", f"no file descriptor number {index} came along")
        size = blobs.size(call.fds[index], MAX_FILE_BYTES)
        if self._held[call.uid] + size > MAX_HELD_OF_ONE or self._held.total() + size > MAX_HELD:
            raise RateLimited("too many frames are on their way. retry-after: 1.00 s")
        self._held[call.uid] += size
        fd = os.dup(call.fds[index])  # the thread's own, however this call ends
        reading = asyncio.ensure_future(asyncio.to_thread(_content, fd))
        try:
            yield read(await _within(reading))
        finally:  # a thread that is still at it keeps its share
            reading.add_done_callback(lambda future: self._let_go(future, call.uid, size))

    def _let_go(self, reading: asyncio.Future[bytearray], uid: int, size: int) -> None:
        if not reading.cancelled():
            reading.exception()  # seen, for asyncio
        self._held[uid] -= size
        self._held += Counter()  # without those that hold nothing


async def _within(reading: asyncio.Future[bytearray]) -> bytearray:
    try:
        async with asyncio.timeout(READ_S):
            return await asyncio.shield(reading)
    except TimeoutError as error:
        raise SettingError(f"the file could not be read within {READ_S:g} s") from error
    except OSError as error:
        raise SettingError(f"the file can't be read: {error.strerror}") from error


def _content(fd: int) -> bytearray:
    try:
        return blobs.read_bounded(fd, MAX_FILE_BYTES)
    finally:
        os.close(fd)


async def _answer(name: str, found: Tokens, horizon_usec: int | None = None) -> Answer:
    """Arrays as sealed files beside a few words."""
    files = [await asyncio.to_thread(_file, found.values)]
    body: dict[str, object] = {
        "model": found.digest,
        "grid": list(found.grid),
        "device": found.device,
        "cached": found.cached,
        "horizon_usec": horizon_usec,
        "classes": list(found.classes) or None,
        "probabilities": list(found.probabilities) or None,
    }
    variants = wrap_all(body, TYPES) | {name: Variant("h", 0)}
    if found.states is not None:
        files.append(_file(found.states))
        variants["states"] = Variant("h", 1)
    return Answer([variants], files)


def _file(array: Floats32) -> int:
    return blobs.sealed("jepad-scene", blobs.npy(array))


def _options(given: Variants, known: set[str]) -> dict[str, Variant]:
    validation.options(given)
    if unknown := given.keys() - known:
        raise SettingError(f"unknown option {min(unknown)!r}: use {', '.join(sorted(known))}")
    return dict(given)


def _manner(given: Variants) -> Manner:
    pool = unwrap(given.get("pool", "tokens"))
    if pool not in ("tokens", "mean"):
        raise SettingError(f"pool {pool!r:.40}: use tokens or mean")
    deadline = _number(given.get("deadline_usec", 10_000_000), "deadline_usec") / 1e6
    if not LEAST_S <= deadline <= MOST_S:
        raise SettingError(f"deadline_usec: use {LEAST_S:g} to {MOST_S:g} s")
    fps = _number(given.get("fps", 4.0), "fps")
    if not 0 < fps <= MOST_FPS:
        raise SettingError(f"fps: use more than 0, up to {MOST_FPS:g}")
    classes = _number(given.get("classes", 0), "classes")
    if classes not in range(wire.MAX_CLASSES + 1):
        raise SettingError(f"classes: use 0 to {wire.MAX_CLASSES}")
    until = time.monotonic() + deadline
    return Manner(until, "mean" if pool == "mean" else "tokens", fps, int(classes))


def _number(given: object, what: str) -> float:
    value = unwrap(given)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise SettingError(f"{what}: use a number")
    return float(value)


def _numbers(given: object, what: str) -> tuple[float, ...]:
    value = unwrap(given)
    if not isinstance(value, list) or len(value) > wire.MAX_ACTIONS * wire.MAX_HORIZON:
        raise SettingError(f"{what}: use a list of numbers")
    numbers = tuple(_number(item, what) for item in value)
    if not (np.abs(numbers) <= MOST).all():
        raise SettingError(f"{what}: use numbers up to {MOST:g}")
    return numbers


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise SettingError(f"{what}: use a text")
    return value


def _searched(given: Mapping[str, object]) -> wire.Search:
    return _checked(wire.Search, given)


def _checked(kind: type[R], given: Mapping[str, object]) -> R:
    """A record within its bounds; SettingError says which was passed."""
    try:
        return msgspec.convert(dict(given), kind)
    except msgspec.ValidationError as error:
        said, _, where = str(error).partition(" - at `$.")
        raise SettingError(f"{where.rstrip('`')}: {said}" if where else said) from error
