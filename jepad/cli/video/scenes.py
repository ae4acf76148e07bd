"""Where a model of pictures is asked: at the daemon if it serves the one wanted, else in an engine
of our own that ends with us.

Owns: that choice, and both ways to ask. Does not know: what is asked for, how an engine runs.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jepad.cli.bus import Client
from jepad.cli.predict import WORLD_MODEL
from jepad.cli.status import MANAGER
from jepad.cli.video import shelf
from jepad.errors import (
    BusError,
    EngineError,
    JepadError,
    Late,
    NotFound,
    NotReady,
    RateLimited,
    named,
)
from jepad.models import library

Frames = npt.NDArray[np.uint8]  # [T, H, W, 3], RGB
Floats = npt.NDArray[np.float32]
JOB = "org.jepad1.Job"
#: One clip of the largest model takes a quarter of an hour on a slow core.
PATIENCE_S = 3600.0
#: The daemon lets nobody wait longer.
SERVED_S = 60.0
#: Between two looks at a plan.
POLL_S = 0.1
#: A caller that asks too often is told so; the CLI waits as long as one clip.
BREATH_S = 1.0


@dataclass(frozen=True, slots=True)
class About:
    """The model that is asked."""

    name: str
    version: str  # "2.0", "2.1" or "2-ac"
    digest: str
    device: str
    size: int  # pixels a side
    frames: int  # of a clip as it was trained on
    tubelet: int
    states: int  # numbers of a state that actions are planned in; 0 = it plans none
    random: bool | None  # weights nobody trained; None = nobody said
    where: str  # who runs it, in words
    image: bool = False  # whether one frame is a picture to it, not a clip cut short

    @property
    def alone(self) -> bool:
        """Whether it encodes each frame by itself, as action-conditioned models do."""
        return self.version == "2-ac"


@dataclass(frozen=True, slots=True)
class Landscape:
    """Energies [n, n] over two components of an action: the first of `axes` down, then across."""

    energies: Floats
    axes: tuple[str, str]
    low: tuple[float, float]
    high: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Found:
    """A plan."""

    action: tuple[float, ...]  # to take now
    names: tuple[str, ...]
    energies: tuple[float, ...]  # the lowest of each iteration
    landscape: Landscape | None


@dataclass(frozen=True, slots=True)
class Quest:
    """What a plan is to be found for; `search` as the fields of scene.wire.Search."""

    start: Frames
    goal: Frames
    state: Sequence[float]
    bounds: str
    search: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a clip looks like to the model."""

    values: Floats  # tokens [K, D], or their mean [D]
    classes: tuple[tuple[int, float], ...] = ()  # by number, with probability; the likeliest first


Progress = Callable[[float, str], None]  # share done, words


class Scene(Protocol):
    """A model of pictures that can be asked."""

    about: About

    def embed(self, frames: Frames, pool: str, classes: int = 0) -> Seen:
        """Tokens [K, D] of a clip; with pool "mean" their mean [D]; and so many classes of it."""

    def plan(self, quest: Quest, progress: Progress) -> Found:
        """A plan; a KeyboardInterrupt on the way cancels it."""


@contextlib.contextmanager
def opened(bus: str, name: str | None) -> Iterator[Scene]:
    """The model of this name, or the one that is served, or the only one installed.

    NotFound: there is none, or which one is not said.
    """
    served = _served(bus, name)
    if served is not None:
        yield served
        return
    from jepad.scene.private import Private, private

    model = shelf.find(bus, name) if name else _only(bus)
    threads = len(os.sched_getaffinity(0))
    with private(model.directory, Private(threads=threads)) as client:
        yield Own(client)


class Own:
    """An engine that nobody else asks."""

    def __init__(self, client: Any) -> None:
        self._client = client
        told = client.describe()
        self.about = About(
            told.model, told.version, told.digest, told.device, told.size, told.frames,
            told.tubelet, told.states, told.random, "an engine of its own", told.image,
        )  # fmt: skip

    def embed(self, frames: Frames, pool: str, classes: int = 0) -> Seen:
        """As Scene."""
        found = self._client.embed(frames, pool=pool, timeout=PATIENCE_S, classes=classes)
        return Seen(found.values, tuple(zip(found.classes, found.probabilities, strict=True)))

    def plan(self, quest: Quest, progress: Progress) -> Found:
        """As Scene."""
        from jepad.scene.client import Quest as Asked
        from jepad.scene.wire import Search

        search = Search(**quest.search)
        asked = Asked(quest.start, quest.goal, quest.state, quest.bounds, search)
        job = self._client.plan_start(asked, PATIENCE_S)
        try:
            return self._followed(job, progress)
        except KeyboardInterrupt:
            with contextlib.suppress(JepadError):  # it ends with us anyway
                self._client.cancel(job)
            raise

    def _followed(self, job: str, progress: Progress) -> Found:
        while True:
            told = self._client.plan_status(job)
            if told.state == "done" and told.result is not None:
                return _found(told.result, told.energies)
            if told.state not in ("waiting", "running"):
                raise _failed(told.state, told.error)
            words = f"energy {told.energies[-1]:.4g}" if told.energies else told.state
            progress(told.done / max(told.total, 1), words)
            time.sleep(POLL_S)


class Served:
    """The daemon's engine, over D-Bus; frames and tokens travel as descriptors."""

    def __init__(self, client: Client, about: About) -> None:
        self._client = client
        self.about = about
        client.connection.patience_s = SERVED_S + 5

    def embed(self, frames: Frames, pool: str, classes: int = 0) -> Seen:
        """As Scene."""
        options: dict[str, tuple[str, Any]] = {"pool": ("s", pool)}
        options |= {"deadline_usec": ("t", round(SERVED_S * 1e6))}
        options |= {"classes": ("x", classes)} if classes else {}
        with _files(frames) as files:
            try:
                told, values = self._ask("EmbedFrames", "va{sv}", (("h", 0), options), files)
            except Late as error:
                raise Late(f"{error}. Fewer frames take less time: --window") from error
        self._known(told.get("model", self.about.digest))
        pairs = zip(told.get("classes", ()), told.get("probabilities", ()), strict=True)
        return Seen(values[told["embedding"]], tuple(pairs))

    def plan(self, quest: Quest, progress: Progress) -> Found:
        """As Scene."""
        options: dict[str, tuple[str, Any]] = {name: ("x", n) for name, n in quest.search.items()}
        options |= {"start": ("h", 1), "state": ("ad", list(quest.state))}
        options |= {"bounds": ("s", quest.bounds)} if quest.bounds else {}
        asked = ("scene", {"frames": ("h", 0)}, options)
        with _files(quest.goal, quest.start) as files:
            job, _ = self._ask("Plan", "sa{sv}a{sv}", asked, files)
        try:
            return self._followed(job, progress)
        except KeyboardInterrupt:
            self._client.call_at(job, (JOB, "Cancel"))
            raise

    def _followed(self, job: str, progress: Progress) -> Found:
        while True:
            told = self._client.properties(job, JOB)
            if told["State"] == "done":
                return _told(told["Result"])
            if told["State"] != "running":
                raise _failed(told["State"], told.get("Error", ("", "")))
            percent, words, _ = told["Progress"]
            progress(percent / 100, words)
            time.sleep(POLL_S)

    def _ask(
        self, member: str, signature: str, args: Sequence[Any], files: Sequence[int]
    ) -> tuple[Any, list[Floats]]:
        """The first of what it answers, and the arrays that came along."""
        end = time.monotonic() + SERVED_S
        while True:
            try:
                message = self._client.exchange("/org/jepad1", (WORLD_MODEL, member), signature,
                                                args, files)  # fmt: skip
            except RateLimited:
                if time.monotonic() > end:
                    raise
                time.sleep(BREATH_S)
                continue
            return message.body[0], _arrays(message.files)

    def _known(self, digest: str) -> None:
        """Embeddings of two models can't be compared: a change on the way is an error."""
        if digest != self.about.digest:
            raise EngineError("the daemon has another model now. Start again")


def _served(bus: str, name: str | None) -> Served | None:
    """The daemon's, if there is one and it has this model (or any, if none is named)."""
    client = Client(bus)
    try:
        (text,) = client.call(MANAGER, "Describe")
    except BusError:  # no daemon is needed: the model runs as well without one
        return None
    described = json.loads(text)
    told = described.get("scene_model") or described.get("scene")
    if not isinstance(told, dict) or name not in (None, told["model"]):
        return None
    if "size" not in told:
        if name is not None:
            return None
        why = f": {told['reason']}" if told.get("reason") else ""
        raise NotReady(
            f"the daemon's {told['model']} is {told['state']}{why}. "
            "Try again, or name a model for an engine of its own: --model"
        )
    names = ("version", "digest", "device", "size", "frames", "tubelet", "random", "image")
    fields: dict[str, Any] = {name: told.get(name) for name in names}
    states, where = int(told.get("states", 0)), f"the daemon ({client.which} bus)"
    return Served(client, About(name=told["model"], states=states, where=where, **fields))


def _only(bus: str) -> library.Installed:
    """The one model that is installed."""
    found = [model for model in shelf.everything(bus)[0] if model.manifest.name != library.TOY]
    if len(found) == 1:
        return found[0]
    names = ", ".join(model.manifest.name for model in found)
    if found:
        raise NotFound(f"which model? Name one with --model: {names}, {library.TOY}")
    raise NotFound(
        "no model of pictures is installed. Import one you have: jepactl model import PATH\n"
        f"or try the small one that ships: --model {library.TOY}"
    )


def _found(told: Any, energies: Sequence[float]) -> Found:
    """From the engine's own words."""
    seen = told.landscape
    landscape = None
    if seen is not None:
        square = np.array(seen.energies, np.float32)
        landscape = Landscape(square, tuple(seen.axes), tuple(seen.low), tuple(seen.high))
    return Found(tuple(told.action), tuple(told.names), tuple(energies), landscape)


def _told(result: Mapping[str, Any]) -> Found:
    """From a job's result on the bus."""
    landscape = None
    if result.get("landscape"):
        square = np.array(result["landscape"], np.float32).reshape(result["landscape_shape"])
        ends = (tuple(result[f"landscape_{end}"]) for end in ("axes", "low", "high"))
        landscape = Landscape(square, *ends)
    names, energies = tuple(result["names"]), tuple(result["energies"])
    return Found(tuple(result["action"]), names, energies, landscape)


def _failed(state: str, error: Sequence[str]) -> JepadError:
    """What ended a plan."""
    name, text = error
    kind = named(name) if name else EngineError
    return kind(text or f"the plan was {state}")


@contextlib.contextmanager
def _files(*arrays: npt.NDArray[Any]) -> Iterator[list[int]]:
    """Each array as a sealed memfd with a .npy; closed afterwards."""
    files: list[int] = []
    try:
        for array in arrays:
            files.append(_file(array))
        yield files
    finally:
        for file in files:
            os.close(file)


def _file(array: npt.NDArray[Any]) -> int:
    import fcntl

    file = os.memfd_create("jepactl", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(file), "wb") as stream:
            np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
        os.lseek(file, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(file)
        raise
    return file


def _arrays(files: list[int]) -> list[Floats]:
    """The .npy that each descriptor holds; all are closed."""
    out = []
    try:
        for file in files:
            content = os.pread(file, os.fstat(file).st_size, 0)
            out.append(np.load(io.BytesIO(content), allow_pickle=False))
    except (OSError, ValueError) as error:
        raise EngineError(f"the daemon's answer can't be read: {error}") from error
    finally:
        while files:
            os.close(files.pop())
    return out
