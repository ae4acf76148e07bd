"""A real scene engine process follows a camera: what is published, what it says, how it ends."""

import asyncio
import math
import os
import signal
import time

import numpy as np
import pytest

from jepad.errors import Lapped, NotFound, SettingError
from jepad.ring.layout import Layout, bits_float
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer
from jepad.scene import wire
from jepad.scene.client import SceneClient
from tests.scene.conftest import PATIENCE_S
from tests.scene.following.camera import Camera


def ask(places, calls):
    """Run `calls(client)` against the engine once it answers."""

    async def run():
        async with SceneClient(places.scene_socket) as client:
            await client.ping(timeout=PATIENCE_S)
            return await calls(client)

    return asyncio.run(run())


async def until(check):
    """What `check()` returns once it is true."""
    limit = time.monotonic() + PATIENCE_S
    while not (found := await check()):
        assert time.monotonic() < limit, f"still waiting for {check}"
        await asyncio.sleep(0.01)
    return found


async def seen(client, camera, newest):
    """How it is, once its newest embedding is of this frame."""

    async def check():
        said = await client.followed(camera.stream)
        return said if said.newest >= newest else None

    return await until(check)


@pytest.fixture
def camera(prefix):
    made = []

    def make(name="door", **how):
        made.append(Camera(prefix, name, **how))
        return made[-1]

    yield make
    for each in made:
        each.retire()


def test_embeddings_are_what_the_model_says_of_the_last_frames(places, model, engine, camera):
    model()
    engine("vitl-256")
    door = camera()
    door.publish(0)

    async def calls(client):
        about = await client.describe()
        assert about.tubelet == 2
        watched = wire.Watched(door.stream, window=4, ahead_s=2)
        said = await client.follow(watched)
        assert (said.embeddings, said.predictions) == ("embeddings.door", "predictions.door")
        assert (said.state, said.surprise, said.learned) == ("running", "predicted", False)
        with Stream(places.shm_prefix, said.embeddings) as embeddings:
            for i in range(1, 8):
                n = door.publish(i / 8)
                if n % 2:
                    await seen(client, door, n)
            header = embeddings.header
            assert header.schema["of"] == door.stream
            assert header.model_sha256.hex() == about.digest
            assert embeddings.head == 3  # frames 1, 3, 5, 7
            for k in range(4):
                record = embeddings.read(n=k)
                last = 2 * k + 1
                assert (record.source_n, record.t_ns) == (last, door.times[last])
                clip = np.stack(door.frames[max(last - 3, 0) : last + 1])
                exact = await client.embed(clip, pool="mean")
                np.testing.assert_allclose(record.array, exact.values, atol=1e-5)
                surprise = bits_float(record.aux[0])
                assert math.isnan(surprise) == (k == 0)
                assert k == 0 or 0 < surprise < 10
        with Stream(places.shm_prefix, said.predictions) as predictions:
            assert predictions.header.schema["horizons_s"] == [1, 2]
            record = predictions.read(n=3)
            assert (record.source_n, record.t_ns) == (7, door.times[7])
            # Two steps of two frames a second.
            exact = await client.predict_temporal(np.stack(door.frames[4:8]), 4)
            by_step = exact.values.reshape(4, -1, exact.values.shape[-1]).mean(1)
            np.testing.assert_allclose(record.array, by_step[[1, 3]], atol=1e-5)
        again = await client.follow(watched)  # the same: nothing begins anew
        assert again.newest == 7
        counts = again.counts
        assert (counts["frames"], counts["published"], counts["still"]) == (8, 4, 0)
        assert (await client.stats())["followed"] == 1

    ask(places, calls)


def test_the_model_that_ships_sees_each_frame_alone(places, engine, camera):
    engine("toy")
    door = camera()
    door.publish(0)

    async def calls(client):
        said = await client.follow(wire.Watched(door.stream, ahead_s=3))
        assert (said.surprise, said.predictions, said.learned) == ("usual", "", True)
        assert "actions" in said.why
        await seen(client, door, 0)
        for i in range(1, 30):
            await seen(client, door, door.publish(0.1 + (i % 2) / 100))
        await seen(client, door, door.publish(1))
        with Stream(places.shm_prefix, said.embeddings) as embeddings:
            assert embeddings.header.schema["surprise"]["from"] == "usual"
            rows, _, _, last = embeddings.window(31)
            assert last == 30
            exact = await client.embed(door.frames[-1][None], pool="mean")
            np.testing.assert_allclose(rows[-1], exact.values, atol=1e-5)
            surprises = [bits_float(embeddings.read(n=n).aux[0]) for n in range(31)]
            assert surprises[-1] == max(surprises[1:])
            beside = bits_float(embeddings.read(n=30).aux[1])
            assert beside > 3

    ask(places, calls)


def test_a_still_scene_costs_nothing_and_is_looked_at_again(places, model, engine, camera):
    model()
    engine("vitl-256")
    door = camera().gated()
    door.publish(0, gate=1)
    second = 1_000_000_000

    async def calls(client):
        watched = wire.Watched(door.stream, gate="motion.door", window=4, refresh_s=20)
        await client.follow(watched)
        start = door.times[0]
        for i in range(1, 100):  # 25 seconds by its own clock, all still
            n = door.publish(0, gate=0, t_ns=start + i * second // 4)

            async def read(n=n):
                return (await client.followed(door.stream)).counts["frames"] > n

            await until(read)

        async def settled():
            counts = (await client.followed(door.stream)).counts
            return counts if counts["still"] + counts["published"] == 50 else None

        # The first clip, the first that is wholly still, and one after 20 seconds.
        counts = await until(settled)
        assert (counts["published"], counts["missing"]) == (3, 0)
        first = door.publish(0.5, gate=1, t_ns=start + 25 * second)
        await seen(client, door, door.publish(0.6, gate=0, t_ns=start + 25 * second))
        with Stream(places.shm_prefix, "embeddings.door") as embeddings:
            assert embeddings.read().source_n == first + 1
            moved = bits_float(embeddings.read().aux[0])
            assert not math.isnan(moved)  # what was expected of a still scene holds on

    ask(places, calls)


def test_requests_keep_their_deadlines_while_a_stream_is_followed(
    places, model, engine, camera, clip
):
    model()
    engine("vitl-256")
    door = camera(slots=256)
    door.publish(0)

    async def calls(client):
        await client.follow(wire.Watched(door.stream, window=64))
        stop = asyncio.Event()

        async def film():
            i = 0
            while not stop.is_set():
                door.publish((i := i + 1) % 50 / 50)
                await asyncio.sleep(0.002)

        filming = asyncio.create_task(film())
        try:
            for seed in range(40):
                await client.embed(clip(4, seed), timeout=10)
        finally:
            stop.set()
            await filming
        assert (await client.stats())["late"] == 0
        counts = (await client.followed(door.stream)).counts
        assert counts["published"] > 0

    ask(places, calls)


def test_it_ends_with_its_stream_after_the_last_frame(places, model, engine, camera):
    model()
    engine("vitl-256")
    door = camera()
    for i in range(6):
        door.publish(i / 6)

    async def calls(client):
        await client.follow(wire.Watched(door.stream, window=2, retention_s=4))
        for i in range(5):  # with the newest before: three steps of two frames
            n = door.publish(i / 5)
        door.retire()

        async def ended():
            said = await client.followed(door.stream)
            return said if said.state == "ended" else None

        said = await until(ended)
        assert said.newest == n
        assert "retired" in said.reason
        with Stream(places.shm_prefix, said.embeddings) as embeddings:

            async def wiped():
                return embeddings.state == "retired"

            await until(wiped)
            with pytest.raises(Lapped):
                embeddings.read(n=embeddings.head)
            assert not embeddings._bytes[embeddings.header.total_bytes // 2 :].any()
        with pytest.raises(NotFound):
            Stream(places.shm_prefix, said.embeddings)
        assert (await client.followed(door.stream)).state == "ended"
        again = Camera(places.shm_prefix)
        try:
            again.publish(0)
            await client.follow(wire.Watched(door.stream, window=2))
            await seen(client, again, again.publish(0.1))
        finally:
            again.retire()

    ask(places, calls)


def test_nobody_can_read_what_is_no_longer_followed(places, model, engine, camera):
    model()
    engine("vitl-256")
    door = camera()
    door.publish(0)

    async def calls(client):
        said = await client.follow(wire.Watched(door.stream, window=2))
        await seen(client, door, door.publish(0.1))
        with Stream(places.shm_prefix, said.embeddings) as embeddings:
            assert embeddings.read().array.any()
            gone = await client.unfollow(door.stream)
            assert (gone.state, gone.reason) == ("ended", "nobody follows it any more")
            assert embeddings.state == "retired"
            with pytest.raises(Lapped):
                embeddings.read(n=embeddings.head)
        for call in (client.followed, client.unfollow):
            with pytest.raises(NotFound, match=r"frames\.door is not followed"):
                await call(door.stream)
        await client.follow(wire.Watched(door.stream, window=4))
        await seen(client, door, door.publish(0.2))

    ask(places, calls)


def test_an_engine_that_is_stopped_leaves_nothing_to_read(places, model, engine, camera):
    model()
    child = engine("vitl-256")
    door = camera(slots=256)
    door.publish(0)

    async def calls(client):
        said = await client.follow(wire.Watched(door.stream, window=64))
        await seen(client, door, door.publish(0.1))
        for i in range(100):
            door.publish(i / 100)
        return Stream(places.shm_prefix, said.embeddings)

    with ask(places, calls) as embeddings:
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_S) == 0
        assert embeddings.state == "retired"
        with pytest.raises(Lapped):
            embeddings.read(n=0)
    assert not [f for f in os.listdir("/dev/shm") if f.startswith(f"{places.shm_prefix}.emb")]


def test_what_a_killed_engine_left_is_wiped_and_what_others_write_stays(
    places, model, engine, camera, prefix
):
    model()
    child = engine("vitl-256")
    door = camera()
    door.publish(0)
    theirs = Writer.create(prefix, Layout("embeddings.mine", np.float32, (4,), {"of": "x"}, 4))
    theirs.publish(np.ones(4, np.float32), 1)

    async def calls(client):
        said = await client.follow(wire.Watched(door.stream, window=2, ahead_s=1))
        await seen(client, door, door.publish(0.1))
        return said

    said = ask(places, calls)
    child.kill()
    child.wait()
    theirs.close()
    with Stream(prefix, said.embeddings) as embeddings:
        assert embeddings.read(n=0).array.any()
        engine("vitl-256")
        ask(places, lambda client: client.stats())
        with pytest.raises(Lapped):
            embeddings.read(n=0)
    for gone in (said.embeddings, said.predictions):
        with pytest.raises(NotFound):
            Stream(prefix, gone)
    with Stream(prefix, "embeddings.mine") as kept:
        assert kept.read(n=0).array.all()


def test_what_can_not_be_followed_is_refused_by_name(places, model, engine, camera, prefix):
    model()
    engine("vitl-256")
    door = camera()
    door.publish(0)
    made = [
        Writer.create(prefix, Layout(name, dtype, shape, schema, 4))
        for name, dtype, shape, schema in [
            ("frames.grey", np.uint8, (64, 64), {}),
            ("frames.float", np.float32, (64, 64, 3), {}),
            ("frames.wide", np.uint8, (2, 16384, 3), {}),
            ("camera", np.uint8, (64, 64, 3), {}),
            ("frames.machine", np.uint8, (64, 64, 3), {}),
            ("motion.mute", np.float32, (4,), {}),
            ("motion.odd", np.float32, (4,), {"head": "gate"}),
            ("motion.bytes", np.uint8, (4,), {"head": ["gate"]}),
        ]
    ]

    async def calls(client):
        for watched, error, said in [
            (wire.Watched("frames.nobody"), NotFound, r"frames\.nobody"),
            (wire.Watched("frames.grey"), SettingError, r"frames\.grey.*no frames.*\[64, 64\]"),
            (wire.Watched("frames.float"), SettingError, r"frames\.float.*float32"),
            (wire.Watched("frames.wide"), SettingError, r"frames\.wide.*too large"),
            (wire.Watched("camera"), SettingError, r"camera.*frames\.NAME"),
            (wire.Watched("frames.machine"), SettingError, "telemetry"),
            (wire.Watched("../shadow"), SettingError, "can't name a stream"),
            (wire.Watched(door.stream, gate="motion.mute"), SettingError, r"motion\.mute"),
            (wire.Watched(door.stream, gate="motion.odd"), SettingError, r"motion\.odd"),
            (wire.Watched(door.stream, gate="motion.bytes"), SettingError, r"motion\.bytes"),
            (wire.Watched(door.stream, window=3), SettingError, "multiples of"),
        ]:
            with pytest.raises(error, match=said):
                await client.follow(watched)
            assert not [f for f in os.listdir("/dev/shm") if f.startswith(f"{prefix}.emb")]
        assert (await client.stats())["followed"] == 0
        await client.follow(wire.Watched(door.stream, gate="motion.none", window=2))
        said = await seen(client, door, door.publish(0.1))
        assert said.counts["missing"] == said.counts["frames"]

    try:
        ask(places, calls)
    finally:
        for each in made:
            each.retire()
