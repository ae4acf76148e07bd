"""A camera's process is kept: born, asked, begun anew when killed, and gone without a trace."""

import asyncio
import contextlib
import os
import signal

import pytest

from jepad.camera import supervisor
from jepad.camera.settings import CameraSettings
from jepad.camera.supervisor import Child, Unit
from jepad.errors import BusError
from jepad.paths import Places


@pytest.fixture
def places(tmp_path, prefix, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    return Places(str(tmp_path), str(tmp_path), "", prefix)


@contextlib.asynccontextmanager
async def child(places, path):
    keeper = Child(places, "door", CameraSettings(source=f"file:{path}", size=64, loop=True))
    await keeper.start()
    try:
        yield keeper
    finally:
        await keeper.stop()


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def test_it_runs_and_leaves_nothing_behind(places, film):
    async def body():
        async with child(places, film()) as keeper:
            await until(lambda: keeper.seen and keeper.seen.counts.get("published", 0) > 0)
            pid, seen = keeper.pid, keeper.seen
        return keeper, pid, seen

    keeper, pid, seen = asyncio.run(body())
    assert (seen.name, seen.state) == ("door", "running")
    assert (keeper.state, keeper.seen) == ("stopped", None)
    assert not os.path.exists(f"/proc/{pid}")
    assert not os.path.exists(f"{places.runtime}/camera-door.json")
    streams = [n for n in os.listdir("/dev/shm") if n.startswith(places.shm_prefix)]
    assert not [n for n in streams if not n.endswith(".lock")]


def test_a_killed_one_is_begun_anew(places, film):
    async def body():
        async with child(places, film()) as keeper:
            await until(lambda: keeper.seen and keeper.seen.state == "running")
            first = keeper.pid
            os.kill(first, signal.SIGKILL)
            await until(lambda: keeper.pid not in (0, first) and keeper.seen)
            await until(lambda: keeper.seen and keeper.seen.state == "running")
            return keeper

    assert asyncio.run(body()).restarts == 1


def test_a_broken_film_is_a_state_and_no_death(places, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"\0" * 4096)

    async def body():
        async with child(places, tmp_path / "a.mp4") as keeper:
            await until(lambda: keeper.seen and keeper.seen.state == "failed")
            return keeper.restarts, keeper.seen

    restarts, seen = asyncio.run(body())
    assert restarts == 0
    assert seen.reason


def unit_of(places, begin, then, monkeypatch):
    monkeypatch.setattr(supervisor, "POLL_S", 0.02)
    monkeypatch.setattr(supervisor, "AWAY_S", 0.2)

    async def body():
        kept = Unit(places, "door", "jepad-camera@video0.service", begin)
        await kept.start()
        try:
            return await then(kept)
        finally:
            await kept.stop()

    return asyncio.run(body())


def test_a_unit_that_may_not_be_started_says_how_a_person_can(places, monkeypatch):
    async def begin(_unit):
        raise BusError("Access denied")

    async def then(kept):
        await until(lambda: kept.reason)
        return kept.state, kept.reason

    state, reason = unit_of(places, begin, then, monkeypatch)
    assert state == "starting"
    assert reason == "Access denied. Start it: systemctl start jepad-camera@video0.service"


def test_a_unit_is_asked_for_once_listened_to_and_asked_to_end(places, film, monkeypatch):
    begun, children = [], []

    async def begin(name):
        begun.append(name)
        keeper = Child(places, "door", CameraSettings(source=f"file:{film()}", size=64, loop=True))
        await keeper.start()
        children.append(keeper)

    async def then(kept):
        await until(lambda: kept.seen and kept.seen.state == "running")
        await until(lambda: not kept.reason)
        pid = children[0].pid
        await kept.stop()
        await until(lambda: not os.path.exists(f"/proc/{pid}") or children[0].pid != pid)
        await children[0].stop()
        return begun

    assert unit_of(places, begin, then, monkeypatch) == ["jepad-camera@video0.service"]
