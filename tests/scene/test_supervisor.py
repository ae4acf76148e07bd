"""The scene engine is kept alive, by devices; a bad model is not tried again and again."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from jepad.errors import EngineError
from jepad.scene.supervisor import SceneSupervisor, Wanted, devices_of

from .conftest import PATIENCE_S


async def soon(check):
    end = time.monotonic() + PATIENCE_S
    while not (found := check()):
        assert time.monotonic() < end, "still waiting"
        await asyncio.sleep(0.02)
    return found


def run(places, wanted, scenario):
    async def supervised():
        supervisor = SceneSupervisor(places, wanted, stall_s=5.0)
        await supervisor.start()
        try:
            await scenario(supervisor)
        finally:
            await supervisor.stop()
        assert supervisor.state == "stopped"

    asyncio.run(supervised())


def test_killed_it_answers_again(places, model, clip):
    model()

    async def scenario(supervisor):
        await soon(lambda: supervisor.state == "running")
        (first,) = supervisor.pids
        assert (await supervisor.client.embed(clip(2))).values.size
        os.kill(first, signal.SIGKILL)
        await soon(lambda: supervisor.pids not in ((), (first,)))
        await soon(lambda: supervisor.state == "running")
        assert (await supervisor.client.embed(clip(2))).values.size
        assert supervisor.restarts == 1
        assert "killed by signal 9" in supervisor.reason

    run(places, Wanted("vitl-256", device="cpu"), scenario)


def test_what_was_asked_ends_with_the_engine(places, model, clip):
    model()

    async def scenario(supervisor):
        await soon(lambda: supervisor.state == "running")
        (first,) = supervisor.pids
        os.kill(first, signal.SIGSTOP)  # it can't answer before its end
        call = asyncio.ensure_future(supervisor.client.embed(clip(2), timeout=600))
        await asyncio.sleep(0.5)
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(EngineError, match="engine ended: killed by signal 9"):
                await call

    run(places, Wanted("vitl-256", device="cpu"), scenario)


def test_one_a_device_and_calls_go_to_both(places, model, clip):
    model()

    async def scenario(supervisor):
        await soon(lambda: len(supervisor.pids) == 2 and supervisor.state == "running")
        for place in (0, 1):
            await supervisor.client.ping(PATIENCE_S, place)
        answers = [supervisor.client.embed(clip(2, seed), timeout=30) for seed in range(12)]
        assert len(await asyncio.gather(*answers)) == 12
        assert (await supervisor.client.stats())["calls"] == 12
        name = os.listdir(places.runtime)
        assert {"scene.sock", "scene-1.sock"} <= set(name)

    run(places, Wanted("vitl-256", device="cpu,cpu"), scenario)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Wanted("vitl-256", device="cpu", memory_max_bytes=1000), "too little memory"),
        (Wanted("../nowhere", device="cpu"), "model"),
        (Wanted("nothing", device="cpu"), "no model 'nothing' is installed"),
        (Wanted("vitl-256", device="cuda:7"), "no device 'cuda:7' here"),
        (Wanted("vitl-256", device="cpu", precision="int8"), "there are: fp32"),
    ],
)
def test_what_can_not_start_says_why(places, model, wanted, reason):
    model()

    async def scenario(supervisor):
        with pytest.raises(EngineError, match="engine ended") as refused:
            await supervisor.client.describe(timeout=600)  # it waits for an engine to come
        assert reason in str(refused.value)
        await soon(lambda: supervisor.state == "failed")
        assert reason in supervisor.reason
        assert supervisor.restarts == 0

    run(places, wanted, scenario)


def test_one_engine_a_device(tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    nodes = f"{tmp_path}/nvidia[0-9]*"
    assert devices_of("all", nodes) == ["cuda:0", "cuda:1"]
    assert devices_of("all", f"{tmp_path}/none*") == ["cpu"]
    assert devices_of("cuda:1, cpu") == ["cuda:1", "cpu"]
    assert devices_of("") == ["auto"]


def test_whoever_asks_loads_no_runtime():
    script = (
        "import sys, jepad.scene.client, jepad.scene.supervisor, jepad.scene.private\n"
        "print([m for m in ('onnxruntime', 'torch', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
