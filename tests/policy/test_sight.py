"""Cameras are built when there is a need of them, and a fault over one ends nothing."""

import asyncio

from jepad.policy import sight
from jepad.policy.sight import Sight
from tests.policy.looking import World


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def test_nothing_is_built_while_nothing_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(sight, "LOOK_S", 0.0)
    wanted = []

    async def body():
        asked = []
        here = Sight(World(tmp_path).make, lambda: asked.append(1) or bool(wanted))
        ready = []
        here.when_built(ready.append)
        await here.start()
        await until(lambda: len(asked) > 3)
        before = here.built, here.summary(), here.lines()
        wanted.append(1)
        await until(lambda: here.built)
        await here.stop()
        return before, ready, here

    before, ready, here = asyncio.run(body())
    assert before == (None, [], [])
    assert ready == [here.built]


def test_a_fault_does_not_end_the_looking(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sight, "POLL_S", 0.0)

    async def body():
        cameras = World(tmp_path).cameras
        polls = []

        async def poll():
            polls.append(1)
            raise ZeroDivisionError

        cameras.poll = poll
        here = Sight(lambda: cameras, lambda: True)
        await here.start()
        await until(lambda: len(polls) > 3)
        await here.stop()

    asyncio.run(body())
    assert caplog.text.count("could not be looked after") == 1


def test_it_tells_of_each(tmp_path):
    async def body():
        world = World(tmp_path)
        here = Sight(lambda: world.cameras, lambda: True)
        await here.cameras().add("file:/a.mp4", {})
        world.process("a").sees(present=True, filter_state="no model")
        await world.cameras.poll()
        return here

    here = asyncio.run(body())
    assert here.lines() == ["a: running, somebody in view, no model"]
    assert here.summary()[0]["frames"] == 3


def test_it_stops_though_it_is_just_ending_a_process(tmp_path):
    async def body():
        cameras = World(tmp_path).cameras
        begun = []

        async def poll():
            begun.append(1)
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                await asyncio.Event().wait()

        cameras.poll = poll
        here = Sight(lambda: cameras, lambda: True)
        await here.start()
        await until(lambda: begun)
        async with asyncio.timeout(10):
            await here.stop()

    asyncio.run(body())
