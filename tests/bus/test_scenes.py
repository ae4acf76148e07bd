"""Pictures over the bus: frames in by descriptor or position, embeddings out by descriptor."""

import asyncio
import fcntl
import io
import os
import socket

import numpy as np
import pytest

from jepad.bus import scenes
from jepad.bus.connection import Refused
from jepad.bus.seam import Variant
from tests.bus.seer import BIG, LATE, SLOW
from tests.bus.test_descriptors import memfd, npy, read_all
from tests.bus.test_jobs import JOB, Asker

CLIP = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
STREAM = ("(sx)", ["frames.x", 41])


def variants(given):
    return {name: Variant(*value) for name, value in given.items()}


def array(fd):
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
    return np.load(io.BytesIO(read_all(fd)), allow_pickle=False)


def asked(jepad, member, signature, *body, fds=()):
    async def run():
        async with jepad.connect() as peer:
            reply = await peer.call(jepad.message(member, signature, *body), fds=fds)
            return reply.body[0], reply.unix_fds

    return asyncio.run(run())


def embed(jepad, frames=("h", 0), fds=None, **options):
    fds = [memfd(npy(CLIP))] if fds is None else fds
    return asked(jepad, "EmbedFrames", "va{sv}", Variant(*frames), variants(options), fds=fds)


def test_frames_in_and_tokens_out(jepad):
    answer, fds = embed(jepad)
    assert {k: v.signature for k, v in answer.items()} == {
        "embedding": "h", "model": "s", "grid": "at", "device": "s", "cached": "b",
    }  # fmt: skip
    got = array(fds[answer["embedding"].value])
    np.testing.assert_array_equal(got, np.full((3, 2), CLIP.sum(), np.float32))
    assert answer["grid"].value == [1, 1, 3]
    named, _ = embed(jepad, classes=("i", 2))
    assert (named["classes"].value, named["probabilities"].value) == ([3, 4], [1 / 3, 1 / 4])
    pooled, fds = embed(jepad, pool=("s", "mean"), deadline_usec=("t", 10**6))
    assert array(fds[pooled["embedding"].value]).shape == (2,)


def test_embed_takes_frames_as_well(jepad):
    answer, fds = asked(
        jepad, "Embed", "ha{sv}", 0, variants({"pool": ("s", "mean")}), fds=[memfd(npy(CLIP))]
    )
    assert answer["model"].value == "cd" * 32
    assert array(fds[0]).tolist() == [CLIP.sum()] * 2
    answer, fds = asked(jepad, "Embed", "ha{sv}", 0, {}, fds=[memfd(npy(np.ones((2, 2))))])
    assert answer["model"].value == "ab" * 32


def test_a_position_in_a_stream(jepad):
    _, fds = embed(jepad, STREAM, fds=[], count=("i", 16))
    assert array(fds[0]).tolist() == [[41, 16]]
    for frames, options, error in (
        (("(sx)", ["frames.none", 1]), {}, "NotFound.*no stream 'frames.none'"),
        (("(sx)", ["../x", 1]), {}, "NotFound"),
        (("(sx)", ["", 1]), {}, "InvalidArgument.*stream"),
        (("(sx)", ["frames.x", -2]), {}, "InvalidArgument.*n: "),
        (STREAM, {"count": ("i", 0)}, "InvalidArgument.*count: "),
        (STREAM, {"count": ("i", 257)}, "InvalidArgument.*count: "),
        (STREAM, {"count": ("s", "1")}, "InvalidArgument.*count: "),
        (("s", "frames.x"), {}, "of type h or"),
        (("ay", b"\0" * 12), {}, "of type h or"),
    ):
        with pytest.raises(Refused, match=error):
            embed(jepad, frames, fds=[], **options)


@pytest.mark.parametrize(
    "options",
    [
        {"pool": ("s", "max")},
        {"pool": ("i", 1)},
        {"classes": ("i", -1)},
        {"classes": ("i", 1001)},
        {"classes": ("s", "all")},
        {"deadline_usec": ("t", 0)},
        {"deadline_usec": ("t", 61_000_000)},
        {"deadline_usec": ("d", float("nan"))},
        {"deadline_usec": ("b", True)},
        {"count": ("i", 2)},
        {"fps": ("d", 4.0)},
        {"pickle": ("b", True)},
    ],
)
def test_options_that_do_not_fit(jepad, options):
    with pytest.raises(Refused, match="InvalidArgument"):
        embed(jepad, **options)


def test_a_batch_of_one_user_waits_at_a_time(jepad):
    """32 make the largest batch; what slows them down is the engine, not the door."""

    async def run():
        async with jepad.connect() as peer:
            first = jepad.message("EmbedFrames", "va{sv}", Variant("h", 0), {})
            await peer.call(first, fds=[memfd(npy(CLIP))])  # from now on it is known who calls
            fds = [memfd(npy(np.full_like(CLIP, SLOW))) for _ in range(32)]
            calls = (
                peer.call(jepad.message("EmbedFrames", "va{sv}", Variant("h", 0), {}), fds=[fd])
                for fd in fds
            )
            return await asyncio.gather(*calls)

    assert len(asyncio.run(run())) == 32


def test_what_the_engine_says_reaches_the_caller(jepad):
    for value, error in (
        (LATE, r"Error.Late: [0-9.]+ s are over"),
        (BIG, "InvalidArgument: too small"),
    ):
        with pytest.raises(Refused, match=error):
            embed(jepad, fds=[memfd(npy(np.full_like(CLIP, value)))])


def hostile():
    """Makers of descriptors that are no frames."""

    def pipe():
        read, write = os.pipe()
        os.close(write)
        return read

    def named_pipe(path="/tmp/jepad-test-fifo"):
        os.mkfifo(path)
        fd = os.open(path, os.O_RDWR)  # a writer that never writes
        os.unlink(path)
        return fd

    def huge():
        fd = memfd(npy(CLIP))
        os.truncate(fd, 1 << 40)
        return fd

    def sparse():
        fd = memfd(npy(CLIP))
        os.truncate(fd, 32 << 20)
        return fd

    def shaped(*shape, **options):
        return lambda: memfd(npy(np.zeros(shape, **{"dtype": np.uint8, **options})))

    header = npy(CLIP)[:128]
    return [
        pipe, named_pipe, huge, sparse,
        lambda: os.open("/dev/zero", os.O_RDONLY),
        lambda: os.open("/proc/self/maps", os.O_RDONLY),
        lambda: os.open("/", os.O_PATH),
        lambda: socket.socket().detach(),
        lambda: memfd(b""),
        lambda: memfd(header),
        lambda: memfd(npy(CLIP)[:-1]),
        lambda: memfd(npy(CLIP) + b"\0"),
        lambda: memfd(header.replace(b"(2, 4, 4, 3)", b"(9**9**9,3) ")),
        lambda: memfd(header.replace(b"(2, 4, 4, 3)", b"(-2,-4,4, 3)")),
        lambda: memfd(npy(np.asfortranarray(CLIP))),
        shaped(2, 4, 4), shaped(2, 4, 4, 4), shaped(0, 4, 4, 3), shaped(2, 0, 4, 3),
        shaped(257, 1, 1, 3), shaped(1, 2049, 1, 3), shaped(1, 1, 2049, 3), shaped(1, 2, 4, 4, 3),
        shaped(2, 4, 4, 3, dtype=np.int8), shaped(2, 4, 4, 3, dtype=np.uint16),
        shaped(2, 4, 4, 3, dtype=np.float32), shaped(2, 4, 4, 3, dtype=bool),
    ]  # fmt: skip


def test_hostile_descriptors_are_refused_and_nothing_leaks(jepad):
    before = jepad.facts()["fds"]
    for make in hostile():
        with pytest.raises(Refused, match="InvalidArgument"):
            embed(jepad, fds=[make()])
    for index, fds in ((1, [memfd(npy(CLIP))]), (0, [])):
        with pytest.raises(Refused, match="InvalidArgs"):
            embed(jepad, ("h", index), fds=fds)
    assert jepad.facts()["fds"] == before


def test_a_file_that_shrinks_and_grows_meanwhile_harms_nobody(jepad):
    """Read, not mapped: there is no SIGBUS to die of."""
    content = npy(np.zeros((64, 256, 256, 3), np.uint8))
    fd = memfd(content)

    async def run():
        async with jepad.connect() as peer:
            calls = []
            for _ in range(3):
                message = jepad.message("EmbedFrames", "va{sv}", Variant("h", 0), {})
                calls.append(asyncio.ensure_future(peer.call(message, fds=[os.dup(fd)])))
                for _ in range(50):
                    os.truncate(fd, 1000)
                    os.truncate(fd, len(content))
                    await asyncio.sleep(0)
            return await asyncio.gather(*calls, return_exceptions=True)

    for answer in asyncio.run(run()):
        refused = isinstance(answer, Refused) and "InvalidArgument" in answer.name
        assert refused or answer.body
    os.close(fd)
    assert jepad.process.poll() is None
    jepad.ask("Ping")


def test_frames_on_their_way_are_bounded(jepad):
    """Of three calls of 60 MiB each that wait, one is too much; afterwards there is room again."""
    clip = np.zeros((5, 2048, 2048, 3), np.uint8)
    clip.flat[0] = SLOW
    content = npy(clip)
    assert 2 * len(content) <= scenes.MAX_HELD_OF_ONE < 3 * len(content)

    async def run():
        async with jepad.connect() as peer:
            message = [jepad.message("EmbedFrames", "va{sv}", Variant("h", 0), {}) for _ in "abc"]
            calls = [asyncio.ensure_future(peer.call(m, fds=[memfd(content)])) for m in message]
            found = await asyncio.gather(*calls, return_exceptions=True)
            return [r.name if isinstance(r, Refused) else "" for r in found]

    for _ in range(2):
        assert sorted(asyncio.run(run())) == ["", "", "org.jepad1.Error.RateLimited"]


def predict(jepad, horizon_us, **options):
    frames = Variant("h", 0)
    body = (frames, horizon_us, variants(options))
    answer, fds = asked(jepad, "PredictTemporal", "vta{sv}", *body, fds=[memfd(npy(CLIP))])
    steps = array(fds[answer["prediction"].value])[0, 0] / 3
    return answer["horizon_usec"].value, steps


def test_a_horizon_in_time_is_steps_of_frames(jepad):
    assert predict(jepad, 0) == (500_000, 1)
    assert predict(jepad, 500_000) == (500_000, 1)
    assert predict(jepad, 500_001) == (1_000_000, 2)
    assert predict(jepad, 1_000_000, fps=("d", 30.0)) == (1_000_000, 15)
    for horizon, options in (
        (33_000_000, {}),
        (2**63, {}),
        (0, {"fps": ("d", 0.0)}),
        (0, {"fps": ("d", float("inf"))}),
        (0, {"fps": ("s", "4")}),
    ):
        with pytest.raises(Refused, match="InvalidArgument"):
            predict(jepad, horizon, **options)


def act(jepad, domain="scene", action="", horizon=0, **parameters):
    given = {
        "frames": ("h", 0),
        "state": ("ad", [0.5, 0.5]),
        "actions": ("ad", [1.0, 2.0, 3.0, 4.0]),
    }
    given = {k: v for k, v in (given | parameters).items() if v is not None}
    body = (domain, action, variants(given), horizon, {})
    return asked(jepad, "PredictAction", "ssa{sv}ta{sv}", *body, fds=[memfd(npy(CLIP))])


def test_what_follows_actions(jepad):
    answer, fds = act(jepad)
    assert array(fds[answer["prediction"].value])[:, 0, 0].tolist() == [3, 7]
    assert array(fds[answer["states"].value]).tolist() == [[1.5, 2.5], [4.5, 6.5]]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"actions": ("ad", [1.0, 2.0, 3.0])}, "3 numbers; an action of toy has 2"),
        ({"actions": ("ad", [])}, "0 numbers"),
        ({"actions": ("ad", [float("nan"), 1.0])}, "use numbers up to"),
        ({"actions": ("as", ["a"])}, "actions: use a number"),
        ({"actions": ("ad", [0.0] * 3000)}, "use a list of numbers"),
        ({"state": None}, "state: use a list"),
        ({"frames": None}, "frames: pass"),
        ({"unit": ("s", "x")}, "unknown option 'unit'"),
        ({"action": "freeze"}, "pass no action"),
        ({"horizon": 5}, "no horizon"),
    ],
)
def test_actions_that_do_not_fit(jepad, given, error):
    with pytest.raises(Refused, match=error):
        act(jepad, **given)


def planned(jepad, goal=None, fds=None, leave=False, **options):
    """The job's last signal, result and error."""
    goal = {"frames": ("h", 0)} if goal is None else goal
    given = {"start": ("h", 1), "state": ("ad", [0.0, 0.0])} | options
    given = variants({k: v for k, v in given.items() if v is not None})

    async def run():
        async with jepad.connect() as peer:
            asker = Asker(jepad, peer)
            message = jepad.message("Plan", "sa{sv}a{sv}", "scene", variants(goal), given)
            files = [memfd(npy(CLIP)), memfd(npy(CLIP))] if fds is None else fds
            path = (await peer.call(message, fds=files)).body[0]
            if leave:
                return path
            told = await asker.finished(path)
            return told, await asker.get(path, "Result"), await asker.get(path, "Error")

    return asyncio.run(run())


def test_a_plan_is_a_job(jepad):
    told, result, _ = planned(jepad, bounds=("s", "toy"), landscape=("i", 3))
    assert told[-1] == ("Finished", ["done", ""])
    assert any("iteration 1 of 4" in str(m) for m in told)
    assert result["action"] == [0.25, -0.25]
    assert result["names"] == ["dx", "dy"]
    assert result["energies"] == [0.5, 0.25]
    assert (result["energy"], result["energy_start"]) == (0.25, 1.0)
    assert (result["horizon"], result["bounds"], result["applied"]) == (1, "toy", False)
    assert result["landscape_shape"] == [3, 3]
    assert len(result["landscape"]) == 9


def test_a_goal_may_be_an_embedding_or_lie_in_a_stream(jepad):
    fds = [memfd(npy(np.ones((3, 2), np.float32))), memfd(npy(CLIP))]
    _, result, _ = planned(jepad, {"embedding": ("h", 0)}, fds)
    assert "landscape" not in result
    _, result, _ = planned(jepad, {"frames": STREAM}, [], start=STREAM)
    assert result["action"] == [0.25, -0.25]


def test_a_plan_that_fails_says_why(jepad):
    told, result, error = planned(jepad, bounds=("s", "lost"))
    assert told[-1] == ("Finished", ["failed", "the GPU is gone"])
    assert (result, error[0]) == ({}, "org.jepad1.Error.DeviceLost")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"goal": {}}, "either frames or an embedding"),
        ({"goal": {"frames": ("h", 0), "embedding": ("h", 1)}}, "either frames or an embedding"),
        ({"goal": {"embedding": ("h", 0)}}, "InvalidArgument"),
        ({"goal": {"embedding": ("ad", [1.0])}}, "of type h"),
        ({"goal": {"frames": ("h", 7)}}, "InvalidArgs"),
        ({"start": None}, "start: pass"),
        ({"state": ("s", "x")}, "state: use a list"),
        ({"bounds": ("s", "nothing")}, "NotFound"),
        ({"bounds": ("i", 3)}, "bounds: use a text"),
        ({"samples": ("i", 1)}, "samples: Expected `int` >= 2"),
        ({"samples": ("i", 10**6)}, "samples: "),
        ({"iterations": ("d", 2.5)}, "iterations: "),
        ({"momentum": ("d", 1.0)}, "momentum: "),
        ({"horizon": ("i", 0)}, "horizon: "),
        ({"seed": ("x", -1)}, "seed: "),
        ({"robot": ("b", True)}, "unknown option 'robot'"),
    ],
)
def test_plans_that_do_not_fit(jepad, given, error):
    with pytest.raises(Refused, match=error):
        planned(jepad, **given)


def test_the_engine_stops_when_nobody_waits_for_the_plan(jepad):
    before = jepad.facts()["cancelled"]
    planned(jepad, leave=True, bounds=("s", "long"))
    for _ in range(200):
        if len(jepad.facts()["cancelled"]) == len(before) + 1:
            return
    raise AssertionError("the engine still works on it")


def test_cancelling_reaches_the_engine(jepad):
    before = jepad.facts()["cancelled"]

    async def run():
        async with jepad.connect() as peer:
            asker = Asker(jepad, peer)
            options = variants({"start": STREAM, "bounds": ("s", "long")})
            goal = variants({"frames": STREAM})
            (path,) = await asker.call("Plan", "sa{sv}a{sv}", "scene", goal, options)
            await asker.call("Cancel", path=path, interface=JOB)
            return await asker.finished(path)

    assert asyncio.run(run())[-1] == ("Finished", ["cancelled", ""])
    for _ in range(200):
        if len(jepad.facts()["cancelled"]) == len(before) + 1:
            return
    raise AssertionError("the engine still works on it")
