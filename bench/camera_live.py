"""The processes of a camera and of the scene as they run, and a reader of both: what a frame costs
and how long it takes to its embedding.

Owns: their start and end, processor time from /proc, times between stages. Does not know: what is
inside them.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import clips
from bench.footprint import _HZ, _ticks
from bench.report import Cell, Goal, Report, Table
from jepad.camera.settings import CameraSettings
from jepad.camera.supervisor import Child
from jepad.errors import JepadError, Lapped, NotFound
from jepad.models.library import Installed
from jepad.paths import Places
from jepad.ring.stream import Stream
from jepad.scene.supervisor import SceneSupervisor, Wanted
from jepad.scene.wire import Watched

NAME = "bench"
RATE = 8.0
START_S, SHORT_S = 60.0, 0.05
INGEST = "720p of a file through the camera's process, frames/s a core"
SHARE = f"{RATE:g} frames/s of 720p without a model, % of a core"
SIDE = clips.SMALL.size
SHARED, EMBEDDED, READ, WHOLE = (
    "capture to frame in shared memory", "frame to its window's embedding",
    "embedding to its reader", "capture to embedding in another process",
)  # fmt: skip
LATENCY = "capture to embedding in another process, p99, ms"


class Spent(NamedTuple):
    """By a camera's process so far."""

    frames: int  # decoded
    published: int
    cpu_s: float
    wall_s: float


@contextmanager
def places() -> Iterator[Places]:
    """Directories of their own and a prefix of streams; both gone at the end."""
    prefix = f"jepad-bench-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    with tempfile.TemporaryDirectory(prefix="jepad-bench-") as home:
        os.chmod(home, 0o700)
        try:
            yield Places(runtime=home, state=home, config=f"{home}/jepad.toml", shm_prefix=prefix)
        finally:
            for left in Path("/dev/shm").glob(f"{prefix}*"):
                left.unlink()


def measured(model: Installed, film: str, path: str, quick: bool) -> Report:
    """Goals without values where a process could not be measured; the note says why."""
    report = Report(notes=[f"latency: {clips.RANDOM} V-JEPA 2 ViT-S, 128²/8 frames, int8"])
    slow = slowed(film, path)
    tries: tuple[tuple[Goal, Callable[[Places], Awaitable[tuple[Goal, Table | None]]]], ...] = (
        (Goal(INGEST, None, ">=", 100), lambda at: ingest(at, film, 4.0 if quick else 20.0)),
        (Goal(SHARE, None, "<=", 8), lambda at: share(at, slow, 8.0 if quick else 40.0)),
        (
            Goal(LATENCY, None, "<=", 1000),
            lambda at: latency(at, slow, model.directory, 10.0 if quick else 45.0),
        ),
    )
    for wanted, attempt in tries:
        try:
            with places() as where:
                goal, table = asyncio.run(_awaited(attempt(where)))
        except (JepadError, OSError, TimeoutError) as error:
            goal, table = replace(wanted, note=f"not measured: {error}"), None
        report.goals.append(goal)
        report.tables += [table] if table else []
    return report


async def _awaited(done: Awaitable[tuple[Goal, Table | None]]) -> tuple[Goal, Table | None]:
    return await done


async def ingest(where: Places, film: str, seconds: float) -> tuple[Goal, Table | None]:
    """Every frame decoded, cut, looked at and published, as fast as it goes."""
    async with camera(
        where, CameraSettings(source=f"file:{film}", fps=60, fast=True, loop=True)
    ) as child:
        before = await _spent(child)
        await asyncio.sleep(seconds)
        after = await _spent(child)
    rate = (after.frames - before.frames) / max(after.cpu_s - before.cpu_s, 1e-9)
    note = f"{after.published - before.published} of {after.frames - before.frames} published"
    return Goal(INGEST, rate, ">=", 100, note), None


async def share(where: Places, film: str, seconds: float) -> tuple[Goal, Table | None]:
    """In its own time."""
    async with camera(where, CameraSettings(source=f"file:{film}", fps=RATE, loop=True)) as child:
        before = await _spent(child)
        await asyncio.sleep(seconds)
        after = await _spent(child)
    used = (after.cpu_s - before.cpu_s) / (after.wall_s - before.wall_s)
    note = f"{after.published - before.published} frames in {after.wall_s - before.wall_s:.0f} s"
    return Goal(SHARE, 100 * used, "<=", 8, note), None


async def latency(
    where: Places, film: str, model: str, seconds: float
) -> tuple[Goal, Table | None]:
    """Every stage of a frame on its way, seen by this process."""
    scene = SceneSupervisor(where, Wanted(model, device="cpu", precision="int8"))
    await scene.start()
    try:
        settings = CameraSettings(source=f"file:{film}", fps=RATE, loop=True, size=SIDE)
        async with camera(where, settings):
            await _until(lambda: scene.state == "running", "the scene process does not start")
            frames = f"frames.{NAME}"
            await scene.client.follow(Watched(stream=frames, gate=f"motion.{NAME}"), START_S)
            seen = await asyncio.to_thread(stages, where.shm_prefix, seconds)
            await scene.client.unfollow(frames, START_S)
    finally:
        await scene.stop()
    rows: list[list[Cell]] = [
        [name, *(float(np.percentile(ms, q)) for q in (50, 99)), len(ms)]
        for name, ms in seen.items()
    ]
    whole = seen[WHOLE]
    note = f"p50 {statistics.median(whole):.0f} ms; {len(whole)} embeddings at {RATE:g} frames/s"
    table = Table("a frame's way, ms", ["stage", "p50", "p99", "count"], rows)
    return Goal(LATENCY, float(np.percentile(whole, 99)), "<=", 1000, note), table


def stages(prefix: str, seconds: float) -> dict[str, list[float]]:
    """Of every embedding that comes within so many seconds, ms of each stage. TimeoutError: there
    is none."""
    frames, embeddings = _opened(prefix, f"frames.{NAME}"), _opened(prefix, f"embeddings.{NAME}")
    out: dict[str, list[float]] = {name: [] for name in (SHARED, EMBEDDED, READ, WHOLE)}
    with frames, embeddings:
        n, limit = max(embeddings.head + 1, 0), time.monotonic() + seconds
        while time.monotonic() < limit:
            if not embeddings.wait(n, min(SHORT_S * 20, seconds)):
                continue
            now = time.monotonic_ns()
            try:
                record = embeddings.read(n)
                frame = frames.read(record.source_n) if record else None
            except Lapped:
                frame = None
            if record is None or frame is None:
                n = embeddings.head + 1
                continue
            n += 1
            ns = (
                frame.t_publish_ns - frame.t_ns,
                record.t_publish_ns - frame.t_publish_ns,
                now - record.t_publish_ns,
                now - record.t_ns,
            )
            for name, value in zip(out, ns, strict=True):
                out[name].append(value / 1e6)
    if not out[WHOLE]:
        raise TimeoutError(f"no embedding within {seconds:g} s")
    return out


def slowed(film: str, path: str) -> str:
    """The film as a camera of RATE frames/s would give it; its path."""
    import av

    with av.open(film) as source, av.open(path, "w") as out:
        given = source.streams.video[0]
        stream = out.add_stream("libx264", rate=int(RATE))
        stream.width, stream.height, stream.pix_fmt = given.width, given.height, "yuv420p"
        stream.options = {"preset": "veryfast", "threads": "1"}
        for number, frame in enumerate(source.decode(given)):
            frame.pts, frame.time_base = number, Fraction(1, int(RATE))
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@asynccontextmanager
async def camera(where: Places, settings: CameraSettings) -> AsyncIterator[Child]:
    """Its process, once it runs; none is left at the end."""
    child = Child(where, NAME, settings)
    await child.start()
    try:
        await _until(lambda: child.seen and child.seen.state == "running", "the camera doesn't run")
        yield child
    finally:
        await child.stop()


async def _spent(child: Child) -> Spent:
    """As it says now, not as it said at the last look."""
    said = await child._talk.look(START_S)
    return Spent(
        said.counts["decoded"], said.counts["published"], _ticks(child.pid) / _HZ, time.monotonic()
    )


async def _until(check: Callable[[], object], complaint: str) -> None:
    limit = time.monotonic() + START_S
    while not check():
        if time.monotonic() > limit:
            raise TimeoutError(complaint)
        await asyncio.sleep(SHORT_S)


def _opened(prefix: str, name: str) -> Stream:
    limit = time.monotonic() + START_S
    while True:
        try:
            return Stream(prefix, name)
        except NotFound:
            if time.monotonic() > limit:
                raise
            time.sleep(SHORT_S)
