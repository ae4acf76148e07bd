"""A real scene engine process: what it answers, how it ends."""

import asyncio
import os
import shutil
import signal
import stat

import numpy as np
import pytest
import zmq

from jepad.errors import EngineError, Late, NotFound, SettingError, TooLarge
from jepad.ring.layout import Layout
from jepad.ring.writer import Writer
from jepad.scene import budget, wire
from jepad.scene.client import Quest, SceneClient
from jepad.worker.tongue import encode

from .conftest import PATIENCE_S

SMALL = wire.Search(samples=16, elites=4, iterations=3, horizon=2, landscape=3)
ARM = [0.0] * 7


def ask(places, calls):
    """Run `calls(client)` against the engine once it answers."""

    async def run():
        async with SceneClient(places.scene_socket) as client:
            await client.ping(timeout=PATIENCE_S)
            return await calls(client)

    return asyncio.run(run())


async def ended(client, job):
    while (said := await client.plan_status(job, 10)).state in ("waiting", "running"):
        await asyncio.sleep(0.02)
    return said


def test_frames_are_embedded_and_known_the_second_time(places, model, engine, clip):
    model()
    engine("vitl-256")
    frames = clip(4)

    async def calls(client):
        said = await client.describe()
        assert (said.model, said.version, said.device) == ("vitl-256", "2.0", "cpu")
        assert said.random
        assert said.accuracy.passed
        assert said.accuracy.pooled > 0.9999 < said.accuracy.worst
        assert said.actions == 0
        first = await client.embed(frames)
        steps, rows, columns = first.grid
        assert first.values.shape == (steps * rows * columns, said.width)
        assert (first.digest, first.cached) == (said.digest, False)
        again = await client.embed(frames)
        assert again.cached
        np.testing.assert_array_equal(again.values, first.values)
        pooled = await client.embed(frames, pool="mean")
        np.testing.assert_allclose(pooled.values, first.values.mean(0), atol=1e-5)
        kept = await client.embed(frames, keep=np.array([0, 3, 5]))
        assert kept.values.shape == (3, said.width)
        assert (
            np.abs(kept.values - first.values[[0, 3, 5]]).max() > 1e-4
        )  # they see each other only
        ahead = await client.predict_temporal(frames, ahead=2)
        assert ahead.grid == (2, rows, columns)
        assert ahead.values.shape == (2 * rows * columns, said.width)
        assert (await client.stats())["cache_hits"] >= 2

    ask(places, calls)


def test_many_at_once_share_runs_and_get_each_their_own(places, model, engine, clip):
    model()
    engine("vitl-256")

    async def calls(client):
        alone = [await client.embed(clip(2, seed)) for seed in range(6)]
        before = await client.stats()
        # Other keys, the same numbers: pooled answers come from the cache, new clips do not.
        fresh = [clip(2, seed) for seed in range(100, 112)]
        together = await asyncio.gather(*(client.embed(frames, timeout=30) for frames in fresh))
        after = await client.stats()
        assert after["runs"] - before["runs"] < len(fresh)
        assert after["largest_batch"] > 1
        singly = [await client.embed(clip(2, seed)) for seed in range(6)]
        for one, two in zip(alone, singly, strict=True):
            np.testing.assert_array_equal(one.values, two.values)
        assert len({answer.values.tobytes() for answer in together}) == len(fresh)

    ask(places, calls)


def test_actions_and_a_plan(places, model, engine, clip):
    model("vitg-256-ac")
    engine("vitg-256-ac")
    frames, goal = clip(1), clip(1, 9)

    async def calls(client):
        said = await client.describe()
        actions = np.full((2, 7), 0.01, np.float32)
        after = await client.predict_action(frames, ARM, actions)
        assert after.values.shape == (2, np.prod(after.grid[1:]), said.width)
        assert after.states.shape == (2, 7)
        np.testing.assert_allclose(after.states[:, 0], [0.01, 0.02], atol=1e-6)
        job = await client.plan_start(Quest(frames, goal, ARM, search=SMALL))
        done = await ended(client, job)
        assert (done.state, done.done, len(done.energies)) == ("done", 3, 3), done.error
        plan = done.result
        assert plan.names[:3] == ("x", "y", "z")
        assert len(plan.action) == 7
        assert np.shape(plan.landscape.energies) == (3, 3)
        assert plan.digest == said.digest
        embedded = await client.embed(goal)
        job = await client.plan_start(Quest(frames, embedded.values, ARM, search=SMALL))
        assert (await ended(client, job)).result.action == plan.action
        long = wire.Search(samples=64, iterations=100)
        job = await client.plan_start(Quest(frames, goal, ARM, search=long))
        await client.cancel(job)
        assert (await ended(client, job)).state == "cancelled"
        with pytest.raises(NotFound):
            await client.plan_status("0-ffff")

    ask(places, calls)


def test_frames_come_from_a_stream(places, model, engine, clip):
    model()
    engine("vitl-256")
    frames = clip(6)
    layout = Layout("camera", np.uint8, frames.shape[1:], {}, 8)
    writer = Writer.create(places.shm_prefix, layout)
    numbers = Layout("numbers", np.float64, (3,), {}, 8)
    other = Writer.create(places.shm_prefix, numbers)
    for i, frame in enumerate(frames):
        writer.publish(frame, i + 1)

    async def calls(client):
        direct = await client.embed(frames[2:])
        through = await client.embed(wire.Streamed("camera", -1, 4))
        np.testing.assert_array_equal(direct.values, through.values)
        assert through.cached
        for asked, error in [
            (wire.Streamed("camera", 40, 4), "not all there"),
            (wire.Streamed("camera", 5, 200), "too many"),
            (wire.Streamed("numbers", -1, 4), "no frames in it"),
            (wire.Streamed("nowhere", -1, 4), "nowhere"),
            (wire.Streamed("../etc", -1, 4), "etc"),
        ]:
            with pytest.raises(Exception, match=error):
                await client.embed(asked)

    try:
        ask(places, calls)
    finally:
        writer.retire()
        other.retire()


def test_bad_questions_are_refused_and_others_answered(places, model, engine, clip):
    model()
    engine("vitl-256")
    odd, good = clip(3), clip(2)

    async def calls(client):
        async def refused(kind, awaitable, match):
            with pytest.raises(kind, match=match):
                await awaitable

        await refused(SettingError, client.embed(odd), "multiples of")
        await refused(SettingError, client.embed(np.zeros((2, 0, 9, 3), np.uint8)), "empty")
        await refused(SettingError, client.embed(np.zeros((2, 64, 64, 3))), "uint8")
        await refused(SettingError, client.embed(np.zeros((2, 64, 64, 4), np.uint8)), "uint8")
        await refused(SettingError, client.embed(np.zeros((2, 2, 3000, 3), np.uint8)), "at most")
        await refused(SettingError, client.embed(good, keep=np.array([0, 0])), "twice")
        await refused(SettingError, client.embed(good, keep=np.array([9999])), "asked of a grid")
        await refused(NotFound, client.predict_action(good, ARM, np.zeros((1, 7))), "no actions")
        await refused(NotFound, client.plan_start(Quest(good, good, ARM)), "no actions")
        await refused(Late, client.embed(clip(4, 77), timeout=1e-4), "no answer")
        assert (await client.embed(good)).values.size

    ask(places, calls)


def test_noise_at_the_socket(places, model, engine, clip):
    model()
    engine("vitl-256")
    ask(places, lambda client: client.ping())
    assert stat.S_IMODE(os.stat(places.scene_socket[6:]).st_mode) == 0o600
    record = wire.EmbedFrames(1, 1 << 62, wire.Blob((2, 64, 64, 3), "u1", 0))
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.setsockopt(zmq.LINGER, 0)
        peer.connect(places.scene_socket)
        for frames in (
            [b""], [b"x" * 100], [encode(record)], [encode(record), b"short"],
            [encode(record), *[b""] * 9], [encode(record), b"", b"", b""],
        ):  # fmt: skip
            peer.send_multipart(frames)
        answers = 0
        while peer.poll(2000 if answers < 4 else 200):
            reply = wire.TONGUE.read_reply(peer.recv_multipart()[0])
            assert isinstance(reply, wire.Refused)
            answers += 1
        assert answers >= 4

    async def calls(client):
        assert (await client.stats())["malformed"] >= 2
        assert (await client.embed(clip(2))).values.size

    ask(places, calls)


def test_it_ends_when_asked_and_leaves_no_socket(places, model, engine):
    model()
    child = engine("vitl-256")
    ask(places, lambda client: client.ping())
    second = engine("vitl-256")
    assert second.wait(PATIENCE_S) == EngineError.exit_code
    assert "another scene runs" in second.stderr.read()
    child.send_signal(signal.SIGTERM)
    assert child.wait(PATIENCE_S) == 0
    assert not os.path.exists(places.scene_socket[6:])


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["nothing"], 4, "no model 'nothing' is installed"),
        (["vitl-256", "--memory-max", "1000"], 5, "the limit is"),
        (["vitl-256", "--device", "cuda:7"], 2, "no device 'cuda:7' here"),
    ],
)
def test_what_can_not_be_served_is_said(places, model, engine, flags, code, said):
    model()
    child = engine(*flags)
    assert child.wait(PATIENCE_S) == code
    assert said in child.stderr.read()


def test_the_memory_limit_is_of_the_work_too(places, model, engine, clip):
    limit = budget.needed(model(), "fp32")
    engine("vitl-256", "--memory-max", str(limit))

    async def calls(client):
        frames = (await client.describe()).frames
        assert (await client.embed(clip(frames))).values.size
        with pytest.raises(TooLarge, match="the limit is"):
            await client.embed(clip(4 * frames))

    ask(places, calls)


def test_a_damaged_model_is_refused(places, model, engine, tmp_path):
    whole = model()
    broken = tmp_path / "broken"
    shutil.copytree(whole.directory, broken)
    with open(broken / "encoder.fp32.onnx", "r+b") as file:
        file.seek(200)
        file.write(b"\xff")
    child = engine(str(broken))
    assert child.wait(PATIENCE_S) == 4
    assert "SHA-256" in child.stderr.read()
