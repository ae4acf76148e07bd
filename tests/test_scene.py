"""A daemon that serves pictures: from jepad.toml to answers on the bus; and one that does not."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from jepad.bus.connection import Connection, Refused
from jepad.bus.seam import Message, Variant
from jepad.bus.variants import unwrap
from tests.bus.test_descriptors import memfd, npy, read_all
from tests.bus.test_jobs import Asker
from tests.running import children, daemon, described, jepactl, until
from tests.scene.made import install

MODEL = "vitg-256-ac"
CLIP = np.random.default_rng(0).integers(0, 256, (2, 70, 90, 3), np.uint8)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """With a tiny model of random weights, and settings that name it."""
    found = tmp_path_factory.mktemp("home")
    (found / "jepad").mkdir(mode=0o700)
    settings = f'[scene]\nmodel = "{MODEL}"\ndevice = "cpu"\n[limits]\ncalls_burst = 100000\n'
    (found / "jepad" / "jepad.toml").write_text(settings)
    install(found / "jepad" / "models", MODEL)
    return found


@pytest.fixture(scope="module")
def live(home):
    with daemon(home) as child:
        until("the scene's engine", lambda: scene(home).get("digest"))
        yield child


def scene(home):
    """What the daemon says of it."""
    return described(home).get("scene") or {}


class Peer:
    """`tests.bus.test_jobs.Asker` wants one that makes messages."""

    @staticmethod
    def message(member, signature="", *body, path="/org/jepad1", interface=None):
        return Message(
            destination="org.jepad1", path=path, interface=interface, member=member,
            signature=signature, body=list(body),
        )  # fmt: skip


def on_the_bus(home, body):
    """Run `body(asker)` on the daemon's bus."""

    async def run():
        peer = await Connection.open((home / "jepad" / "bus-address").read_text().strip())
        try:
            return await body(Asker(Peer, peer))
        finally:
            peer.close()

    return asyncio.run(run())


def asked(home, member, signature, *body, fds):
    """Plain answer and the arrays that came with it."""

    async def call(asker):
        reply = await asker.peer.call(Peer.message(member, signature, *body), 30, fds=fds)
        arrays = [np.load(io.BytesIO(read_all(fd))) for fd in reply.unix_fds]
        return unwrap(reply.body[0]), arrays

    return on_the_bus(home, call)


def file(array=CLIP):
    return memfd(npy(array))


def test_it_says_what_it_serves(live, home):
    told = scene(home)
    assert (told["state"], told["model"], told["version"]) == ("running", MODEL, "2-ac")
    assert told["random"] is True
    assert told["device"] == "cpu"
    assert 0 < told["accuracy"]["worst"] <= told["accuracy"]["pooled"] <= 1.0001
    assert len(told["digest"]) == 64
    assert f"Scene: {MODEL}, V-JEPA 2-ac, on cpu" in jepactl(home, "status").stdout


def test_frames_are_embedded_and_the_second_answer_is_known(live, home):
    told = scene(home)
    first, (tokens,) = asked(home, "EmbedFrames", "va{sv}", Variant("h", 0), {}, fds=[file()])
    again, (same,) = asked(home, "Embed", "ha{sv}", 0, {}, fds=[file()])
    assert (first["model"], first["cached"], again["cached"]) == (told["digest"], False, True)
    assert tokens.shape == (int(np.prod(first["grid"])), told["width"])
    np.testing.assert_array_equal(tokens, same)
    assert np.isfinite(tokens).all()


def test_what_follows_actions(live, home):
    told = scene(home)
    actions = [0.0] * (2 * told["actions"])
    given = {
        "frames": Variant("h", 0),
        "state": Variant("ad", [0.0] * told["states"]),
        "actions": Variant("ad", actions),
    }
    answer, (tokens, states) = asked(
        home, "PredictAction", "ssa{sv}ta{sv}", "scene", "", given, 0, {}, fds=[file(CLIP[:1])]
    )
    assert answer["model"] == told["digest"]
    assert tokens.shape[0] == states.shape[0] == 2
    assert tokens.shape[2] == told["width"]


def test_a_plan_to_a_goal(live, home):
    async def body(asker):
        goal = {"frames": Variant("h", 0)}
        options = {
            "start": Variant("h", 1), "state": Variant("ad", [0.0] * scene(home)["states"]),
            "samples": Variant("i", 8), "elites": Variant("i", 2), "iterations": Variant("i", 3),
            "horizon": Variant("i", 1), "landscape": Variant("i", 3),
        }  # fmt: skip
        message = Peer.message("Plan", "sa{sv}a{sv}", "scene", goal, options)
        fds = [file(CLIP[::-1].copy()), file()]
        path = (await asker.peer.call(message, 30, fds=fds)).body[0]
        told = await asker.finished(path)
        return told, await asker.get(path, "Result")

    told, result = on_the_bus(home, body)
    assert told[-1] == ("Finished", ["done", ""])
    assert len(result["action"]) == len(result["names"]) == scene(home)["actions"]
    assert len(result["energies"]) == 3
    assert result["landscape_shape"] == [3, 3]
    assert json.loads(result["bounds"])["axes"]


def test_a_plan_for_the_machine_asks_the_other_model(live, home):
    async def body(asker):
        goal = {"want": Variant("s", "mem.MemFree >= 1000TiB")}
        options = {"actions": Variant("as", ["drop_caches"])}
        try:
            (path,) = await asker.call("Plan", "sa{sv}a{sv}", "memory", goal, options)
            told = await asker.finished(path)
        except Refused:  # too early
            return None
        return told[-1][1][0] == "done" and await asker.get(path, "Result")

    result = until("enough samples", lambda: on_the_bus(home, body))
    assert result["series"][0].startswith("mem.")
    assert (result["reached"], result["applied"]) == (False, False)
    assert [t["action"] for t in result["tried"]] == ["drop_caches"]
    assert 0.9 < result["energy_without"] <= 1


def test_what_the_model_refuses_is_told(live, home):
    with pytest.raises(Refused, match="Error"):
        asked(home, "PredictTemporal", "vta{sv}", Variant("h", 0), 0, {}, fds=[file()])
    with pytest.raises(Refused, match="no stream 'frames"):
        asked(home, "EmbedFrames", "va{sv}", Variant("(sx)", ["frames.x", -1]), {}, fds=[])


def test_a_killed_engine_is_restarted_while_the_machine_is_forecast(live, home):
    (engine,) = children(live.pid, b"jepad.scene")
    os.kill(engine, signal.SIGKILL)

    def back():
        found = children(live.pid, b"jepad.scene")
        return found and found != [engine]

    until("another engine", back)

    def answered():
        try:
            return asked(home, "EmbedFrames", "va{sv}", Variant("h", 0), {}, fds=[file()])
        except Refused:  # not yet
            return None

    until("an answer", answered)
    assert described(home)["state"] in ("running", "degraded", "starting")


def test_without_a_model_nothing_of_it_is_loaded():
    code = "import sys, jepad.daemon, jepad.bus.world_model; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = done.stdout.split()
    rooms = ("jepad.scene", "jepad.planning", "jepad.vision", "jepad.models", "jepad.jepa")
    assert not [name for name in loaded if name.startswith(rooms)]
    assert not {"jepad.policy.scenes", "jepad.policy.plan", "jepad.bus.scenes"} & set(loaded)
