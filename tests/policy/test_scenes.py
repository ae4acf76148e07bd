"""The use cases of pictures, over a client that sees none."""

import asyncio
import time

import numpy as np
import pytest

from jepad.errors import EngineError, Late, NotFound, NotReady, SettingError
from jepad.policy import scenes
from jepad.policy.jobs import Jobs, Owner
from jepad.policy.scenes import Manner, Scenes, Served
from jepad.scene import wire
from tests.bus.seer import Client

CLIP = np.ones((2, 4, 4, 3), np.uint8)
ME = Owner(1, ":1.1")


def manner(**wished):
    return Manner(time.monotonic() + 10, **wished)


def made(client=None, streams=("frames.x",), state="running", reason=""):
    client = client or Client()
    served = Served("toy", client, lambda: state, lambda: reason, lambda: streams)
    return Scenes(served, Jobs()), client


def test_what_is_served_is_looked_at_now_and_then():
    async def body():
        found, _ = made()
        before = found.summary(), found.line()
        for _ in range(3):
            found.look()
            await asyncio.sleep(0)
        return before, found.summary(), found.line()

    before, after, line = asyncio.run(body())
    assert before == ({"state": "running", "reason": "", "model": "toy"}, "toy: running")
    assert (after["digest"], after["size"], after["random"]) == ("cd" * 32, 64, False)
    assert "id" not in after
    assert line == "toy, V-JEPA 2-ac, on cpu in fp32, 1.0 MiB"


def test_an_engine_that_is_away_is_described_no_more(monkeypatch):
    class Away(Client):
        async def describe(self, timeout=1.0):
            raise EngineError("no answer")

    async def body():
        monkeypatch.setattr(scenes, "LOOK_S", 0.0)
        found, client = made()
        found.look()
        await asyncio.sleep(0)
        client.describe = Away().describe
        found.look()
        await asyncio.sleep(0)
        return found.summary()

    assert "digest" not in asyncio.run(body())


def test_a_call_has_one_deadline_whatever_it_waited_for():
    async def body():
        found, _ = made()
        for asking in (
            found.embed(CLIP, Manner(time.monotonic() - 1)),
            found.predict(CLIP, 0, Manner(time.monotonic() - 1)),
            found.act(CLIP, (), (1.0, 1.0), Manner(time.monotonic() - 1)),
        ):
            with pytest.raises(Late):
                await asking

    asyncio.run(body())


def test_a_stream_must_be_there():
    async def body():
        found, _ = made(streams=())
        with pytest.raises(NotFound, match="There are: none"):
            await found.embed(wire.Streamed("frames.x"), manner())

    asyncio.run(body())


def test_an_engine_that_only_a_person_can_mend_is_not_waited_for():
    async def body():
        found, _ = made(state="failed", reason="the model file can't be used (exit code 4)")
        for asked in (
            found.embed(CLIP, manner()),
            found.predict(CLIP, 0, manner()),
            found.act(CLIP, (), (1.0, 1.0), manner()),
            found.begin(scenes.Quest(CLIP, CLIP, ()), manner()),
        ):
            with pytest.raises(EngineError, match="no scene engine runs: the model file"):
                await asked
        return found.line()

    assert asyncio.run(body()) == "toy: failed: the model file can't be used (exit code 4)"


def test_a_model_without_actions_says_so():
    class Passive(Client):
        async def describe(self, timeout=1.0):
            told = await super().describe()
            return wire.Described(
                *(
                    0 if name == "actions" else getattr(told, name)
                    for name in told.__struct_fields__
                )
            )

    async def body():
        found, _ = made(Passive())
        with pytest.raises(NotReady, match="never shown an action"):
            await found.act(CLIP, (), (1.0,), manner())

    asyncio.run(body())


@pytest.mark.parametrize(("horizon_us", "fps", "ahead"), [(0, 4.0, 1), (499_999, 4.0, 1),
    (500_001, 4.0, 2), (1_000_000, 30.0, 15)])  # fmt: skip
def test_time_is_counted_in_steps_of_frames(horizon_us, fps, ahead):
    async def body():
        found, _ = made()
        answer, taken = await found.predict(CLIP, horizon_us, manner(fps=fps))
        return answer.values[0, 0] / 3, taken

    steps, taken = asyncio.run(body())
    assert (steps, taken) == (ahead, round(ahead * 2 / fps * 1e6))


def test_too_far_ahead_is_refused():
    async def body():
        found, _ = made()
        with pytest.raises(SettingError, match="at 4 fps up to 32000000"):
            await found.predict(CLIP, 32_000_001, manner())

    asyncio.run(body())


def followed(monkeypatch, client, bounds=""):
    """The job as it ended."""

    async def body():
        monkeypatch.setattr(scenes, "POLL_S", 0.0)
        monkeypatch.setattr(scenes, "FIRST_POLL_S", 0.0)
        found, _ = made(client)
        work = await found.begin(scenes.Quest(CLIP, CLIP, (), bounds), manner())
        job = found.follow(ME, work)
        async with asyncio.timeout(10):
            while found._jobs.get(job.id).state == "running":
                await asyncio.sleep(0)
        return found._jobs.get(job.id)

    return asyncio.run(body())


def test_an_engine_that_is_busy_for_a_moment_loses_no_plan(monkeypatch):
    assert followed(monkeypatch, Client()).state == "done"


def test_an_engine_that_stays_away_ends_it(monkeypatch):
    class Away(Client):
        async def plan_status(self, job, timeout=1.0):
            raise EngineError("no answer within 1 s")

    job = followed(monkeypatch, Away())
    assert (job.state, str(job.error)) == ("failed", "no answer within 1 s")


def test_an_engine_that_forgot_it_ends_it_at_once(monkeypatch):
    class Anew(Client):
        polls = 0

        async def plan_status(self, job, timeout=1.0):
            self.polls += 1
            raise NotFound("no plan")

    client = Anew()
    error = followed(monkeypatch, client).error
    assert (type(error), str(error)) == (EngineError, "the engine was restarted; plan again")
    assert client.polls == 1
