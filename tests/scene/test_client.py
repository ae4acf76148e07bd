"""Which of several engines follows a stream, and who is asked about it."""

import asyncio

import pytest

from jepad.errors import NotFound
from jepad.scene import wire
from jepad.scene.client import SceneClient
from tests.scene.conftest import PATIENCE_S
from tests.scene.following.camera import Camera


def test_a_stream_is_asked_about_where_it_is_followed(places, model, engine, prefix):
    model()
    for name in ("scene", "scene-1"):
        engine("vitl-256", "--name", name)
    sockets = [f"ipc://{places.runtime}/{name}.sock" for name in ("scene", "scene-1")]
    cameras = [Camera(prefix, name) for name in ("door", "yard")]

    async def run():
        async with SceneClient(*sockets) as client, SceneClient(*reversed(sockets)) as other:
            for place in range(2):
                await client.ping(PATIENCE_S, place)
            for camera in cameras:
                camera.publish(0)
                for _ in range(2):
                    said = await client.follow(wire.Watched(camera.stream, window=2))
                    assert said.state == "running"
                assert (await other.followed(camera.stream)).embeddings == said.embeddings
            assert (await client.stats())["followed"] == 2
            for camera in cameras:
                await other.unfollow(camera.stream)
                for each in (client, other):
                    with pytest.raises(NotFound):
                        await each.followed(camera.stream)

    try:
        asyncio.run(run())
    finally:
        for camera in cameras:
            camera.retire()
