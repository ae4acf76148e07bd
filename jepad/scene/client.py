"""Asks scene engines from an asyncio program.

Owns: questions as methods, which of several engines is asked, arrays on their way.
Does not know: what an answer means, who keeps the engines alive. Loads neither onnxruntime nor
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from jepad.errors import EngineError, NotFound, SettingError
from jepad.scene import wire
from jepad.scene.placement import least_loaded
from jepad.worker.link import Heard, Link
from jepad.worker.tongue import Message, Part

R = TypeVar("R", bound=Message)
Make = Callable[[int, int], wire.Request]  # (id, deadline_ns)
Frames = NDArray[np.uint8] | wire.Streamed  # [T, H, W, 3] RGB
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Arrays that came of a question."""

    values: NDArray[np.float32]  # [K, D], pooled [D]; of actions [H, K, D]
    grid: tuple[int, int, int]  # steps, rows, columns
    digest: str  # of the model
    device: str
    cached: bool
    states: NDArray[np.float32] | None = None  # of actions [H, S]
    classes: tuple[int, ...] = ()  # by number, the most probable first
    probabilities: tuple[float, ...] = ()  # of these


@dataclass(frozen=True, slots=True)
class Quest:
    """A plan's question."""

    frames: Frames  # the last one is the start
    goal: Frames | NDArray[np.float32]  # frames (the last counts), or an embedding [K, D]
    state: Sequence[float]
    bounds: str = ""  # a name or JSON; "" = the model's own
    search: wire.Search = field(default_factory=wire.Search)


class _Place:
    """One engine, and what it said last of its load."""

    def __init__(self, endpoint: str) -> None:
        self.link: Link[wire.Request, wire.Reply] = Link(endpoint, wire.TONGUE)
        self.pong: wire.Pong | None = None

    @property
    def load(self) -> tuple[int, int]:
        """Calls that wait there, bytes that are free; one that never answered comes last."""
        if self.pong is None:
            return 1 << 30, 0
        return self.link.waiting + self.pong.waiting, self.pong.free_bytes


class SceneClient:
    """Of one engine a device; each call goes where least waits and most memory is free."""

    def __init__(self, *endpoints: str) -> None:
        if not endpoints:
            raise SettingError("a scene client needs the socket of at least one engine")
        self._places = [_Place(endpoint) for endpoint in endpoints]
        self._followed: dict[str, _Place] = {}

    async def __aenter__(self) -> SceneClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ping(self, timeout: float = 1.0, place: int = 0) -> wire.Pong:
        """Is the engine of this number there, and how busy is it?"""
        at = self._places[place]
        at.pong = None  # until it answers, others are asked
        at.pong = (await at.link.ask(wire.Pong, wire.Ping, timeout)).reply
        return at.pong

    async def describe(self, timeout: float = 1.0) -> wire.Described:
        """Which model, where, how large."""
        return (await self._ask(wire.Described, wire.Describe, timeout)).reply

    async def stats(self, timeout: float = 1.0) -> dict[str, float]:
        """Counters, of all engines that answer together."""
        sums: dict[str, float] = {}
        for place in self._places:
            try:
                counted = await place.link.ask(wire.Counted, wire.Stats, timeout)
            except EngineError:
                if len(self._places) == 1:
                    raise
                continue
            for name, value in counted.reply.values.items():
                sums[name] = sums.get(name, 0) + value
        return sums

    async def embed(
        self,
        frames: Frames,
        keep: NDArray[np.integer[Any]] | None = None,
        pool: str = "tokens",
        timeout: float = TIMEOUT_S,
        classes: int = 0,
    ) -> Answer:
        """Tokens [K, D] of a clip, or of those in `keep` alone; pool="mean": one [D]. `classes`:
        so many of the most probable ones beside them; NotFound of a model without a probe."""
        sent = _Parts()
        clip, kept = sent.clip(frames), None if keep is None else sent.add(keep.astype(np.uint32))

        def make(number: int, deadline: int) -> wire.Request:
            return wire.EmbedFrames(number, deadline, clip, kept, pool, classes)  # type: ignore[arg-type]

        return await self._tokens(make, sent, timeout)

    async def predict_temporal(
        self, frames: Frames, ahead: int = 1, pool: str = "tokens", timeout: float = TIMEOUT_S
    ) -> Answer:
        """Tokens of the `ahead` steps (tubelets) that follow."""
        sent = _Parts()
        clip = sent.clip(frames)

        def make(number: int, deadline: int) -> wire.Request:
            return wire.PredictTemporal(number, deadline, clip, ahead, pool)  # type: ignore[arg-type]

        return await self._tokens(make, sent, timeout)

    async def predict_action(
        self,
        frames: Frames,
        state: Sequence[float],
        actions: NDArray[np.float32],
        timeout: float = TIMEOUT_S,
    ) -> Answer:
        """What follows the last frame, in this state, if actions [H, A] are taken. Of F frames the
        state is of all [F * S], and the F - 1 actions between them come first (wire says how)."""
        sent, told = _Parts(), tuple(float(x) for x in state)
        clip, acts = sent.clip(frames), sent.add(np.asarray(actions, np.float32))

        def make(number: int, deadline: int) -> wire.Request:
            return wire.PredictAction(number, deadline, clip, told, acts)

        return await self._tokens(make, sent, timeout)

    async def plan_start(self, quest: Quest, timeout: float = TIMEOUT_S) -> str:
        """The job's id; ask for its status at least once a minute."""
        sent, state = _Parts(), tuple(float(x) for x in quest.state)
        clip, goal = sent.clip(quest.frames), sent.clip(quest.goal)

        def make(number: int, deadline: int) -> wire.Request:
            return wire.PlanStart(number, deadline, clip, goal, state, quest.bounds, quest.search)

        place = self._least()
        heard = await self._places[place].link.ask(wire.JobStarted, make, timeout, sent.parts)
        return f"{place}-{heard.reply.job}"

    async def plan_status(self, job: str, timeout: float = 1.0) -> wire.JobState:
        """How far it is; NotFound a minute after its end."""
        place, known = self._of(job)
        return (
            await place.link.ask(
                wire.JobState, lambda n, deadline: wire.JobStatus(n, deadline, known), timeout
            )
        ).reply

    async def cancel(self, job: str, timeout: float = 1.0) -> wire.JobState:
        """It ends after the present iteration."""
        place, known = self._of(job)
        return (
            await place.link.ask(
                wire.JobState, lambda n, deadline: wire.JobCancel(n, deadline, known), timeout
            )
        ).reply

    async def follow(self, watched: wire.Watched, timeout: float = TIMEOUT_S) -> wire.Following:
        """Embed a stream as it comes; of one that is followed so already, how it is."""
        place = self._followed.get(watched.stream) or self._places[self._least()]
        heard = await place.link.ask(
            wire.Following, lambda n, deadline: wire.Follow(n, deadline, watched), timeout
        )
        self._followed[watched.stream] = place
        return heard.reply

    async def followed(self, stream: str, timeout: float = 1.0) -> wire.Following:
        """How it is; NotFound: nobody follows it, as after the engine began anew."""
        return await self._of_stream(
            stream, lambda n, deadline: wire.Followed(n, deadline, stream), timeout
        )

    async def unfollow(self, stream: str, timeout: float = TIMEOUT_S) -> wire.Following:
        """No more of it: what was published of it is wiped."""
        said = await self._of_stream(
            stream, lambda n, deadline: wire.Unfollow(n, deadline, stream), timeout
        )
        self._followed.pop(stream, None)
        return said

    def fail(self, error: EngineError, everything: bool = False, place: int = 0) -> None:
        """The engine of this number is gone, and with it what it was asked; `everything`: no other
        will come, so that what waits for one fails too."""
        at = self._places[place]
        at.pong = None
        at.link.fail(error, everything)

    async def close(self) -> None:
        """Stop reading; calls still waiting fail."""
        for place in self._places:
            await place.link.close()

    def _least(self) -> int:
        return least_loaded(range(len(self._places)), lambda i: self._places[i].load)

    def _of(self, job: str) -> tuple[_Place, str]:
        place, _, known = job.partition("-")
        if not place.isdecimal() or int(place) >= len(self._places) or not known:
            raise NotFound(f"no plan {job!r}")
        return self._places[int(place)], known

    async def _of_stream(self, stream: str, make: Make, timeout: float) -> wire.Following:
        """Of the engine that follows it; one that another client asked may be any."""
        known = self._followed.get(stream)
        places = self._places if known is None else [known]
        for place in places:
            try:
                return (await place.link.ask(wire.Following, make, timeout)).reply
            except NotFound:
                self._followed.pop(stream, None)
                if place is places[-1]:
                    raise
        raise AssertionError("there is at least one engine")

    async def _ask(
        self, kind: type[R], make: Make, timeout: float, parts: Sequence[Part] = ()
    ) -> Heard[R]:
        return await self._places[self._least()].link.ask(kind, make, timeout, parts)

    async def _tokens(self, make: Make, sent: _Parts, timeout: float) -> Answer:
        said, parts = await self._ask(wire.Tokens, make, timeout, sent.parts)
        states = None if said.states is None else wire.unpack(said.states, parts)
        return Answer(
            wire.unpack(said.values, parts), said.grid, said.digest, said.device, said.cached,
            states, said.classes, said.probabilities,
        )  # fmt: skip


class _Parts:
    """Arrays on their way: what is refused here costs no copy on the wire."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def clip(self, frames: Frames | NDArray[np.float32]) -> wire.Clip:
        return frames if isinstance(frames, wire.Streamed) else self.add(frames)

    def add(self, array: NDArray[Any]) -> wire.Blob:
        if not array.size or array.nbytes > wire.MAX_PART_BYTES:
            raise SettingError(
                f"an array of {array.dtype} {list(array.shape)} is empty, or has over "
                f"{wire.MAX_PART_BYTES >> 20} MiB"
            )
        if array.dtype not in (np.uint8, np.uint32, np.float32):
            raise SettingError(f"frames are uint8, embeddings float32, not {array.dtype}")
        blob, data = wire.pack(array, len(self.parts))
        self.parts.append(data)
        return blob
