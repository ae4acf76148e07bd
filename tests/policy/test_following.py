"""The model of pictures is asked to watch what runs, and nothing else."""

import asyncio

from jepad import config
from jepad.errors import EngineError
from jepad.policy import following
from jepad.policy.following import Following
from jepad.scene import wire
from tests.policy.looking import World

SAID = wire.Following(
    0, "frames.a", "embeddings.a", "predictions.a", "running", "", True, "predicted", "", 3, {}
)


class Watcher:
    """Stands in for the scene engine."""

    def __init__(self):
        self.asked, self.dropped, self.error, self.said = [], [], None, SAID

    async def follow(self, watched, timeout=0):
        self.asked.append(watched)
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return self.said

    async def unfollow(self, stream, timeout=0):
        self.dropped.append(stream)
        return self.said


def looked(tmp_path, monkeypatch, then, settings=config.Camera()):  # noqa: B008 frozen
    """A running camera a that the model watches; `then` happens to it."""
    monkeypatch.setattr(following, "ASK_S", 0.0)

    async def body():
        watcher = Watcher()
        world = World(tmp_path, Following(watcher, settings))
        live = await world.cameras.add("file:/a.mp4", {"retention_min": 2.0})
        await world.cameras.add("rtsp://waits/", {})
        await world.cameras.poll()
        await asyncio.sleep(0.01)
        await then(world, watcher)
        return watcher, live

    return asyncio.run(body())


async def nothing(_world, _watcher):
    pass


def test_what_runs_is_followed_as_the_settings_say(tmp_path, monkeypatch):
    watcher, live = looked(tmp_path, monkeypatch, nothing)
    (asked,) = watcher.asked
    assert (asked.stream, asked.gate, asked.retention_s) == ("frames.a", "motion.a", 120)
    assert asked.ahead_s == config.Camera().ahead_s
    assert live.streams() == ["frames.a", "motion.a", "embeddings.a", "predictions.a"]
    assert live.followed.learned


def test_it_is_asked_again_as_an_engine_that_began_anew_knows_of_none(tmp_path, monkeypatch):
    async def then(world, watcher):
        watcher.error = EngineError("away")
        await world.cameras.poll()
        await asyncio.sleep(0.01)

    watcher, live = looked(tmp_path, monkeypatch, then)
    assert len(watcher.asked) == 2
    assert (live.followed.embeddings, live.followed.why) == ("", "away")
    assert not live.followed.learned


def test_a_consent_taken_back_ends_it(tmp_path, monkeypatch):
    async def then(world, _watcher):
        await world.cameras.allow("a", False)
        await world.cameras.poll()

    watcher, live = looked(tmp_path, monkeypatch, then)
    assert watcher.dropped == ["frames.a"]
    assert live.streams() == []
    assert len(watcher.asked) == 1
