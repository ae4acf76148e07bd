"""The engine is killed, stopped, hung and damaged; the supervisor makes the best of it."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from jepad.engine.supervisor import Progress, Supervisor
from jepad.errors import NotFound, RingError
from jepad.ring.stream import Stream

from .conftest import PATIENCE_S, until


async def soon(check):
    end = time.monotonic() + PATIENCE_S
    while not (found := check()):
        assert time.monotonic() < end, "still waiting"
        await asyncio.sleep(0.02)
    return found


def run(places, scenario, **options):
    async def supervised():
        supervisor = Supervisor(places, **({"model": "none", "stall_s": 2.0} | options))
        await supervisor.start()
        try:
            await scenario(supervisor)
        finally:
            await supervisor.stop()
        assert supervisor.state == "stopped"

    asyncio.run(supervised())


def head(places):
    try:
        with Stream(places.shm_prefix, "predictions.machine") as stream:
            return stream.head
    except (NotFound, RingError):
        return -1


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_killed_hung_or_ended_it_forecasts_again(places, telemetry, blow):
    async def scenario(supervisor):
        await soon(lambda: supervisor.state == "running" and head(places) >= 0)
        first = supervisor.pid
        stream = Stream(places.shm_prefix, "predictions.machine")
        os.kill(first, blow)
        await soon(lambda: supervisor.pid not in (0, first))
        reached = stream.head
        assert not alive(first)
        await soon(lambda: stream.head > reached and supervisor.state == "running")
        assert supervisor.restarts == 1
        assert supervisor.reason
        assert stream.state == "live"

    run(places, scenario)


def test_a_damaged_model_is_not_tried_again_and_again(places, tmp_path):
    card = tmp_path / "machine.json"
    card.write_text("{}")

    async def scenario(supervisor):
        await soon(lambda: supervisor.state == "failed")
        assert "4" in supervisor.reason
        assert supervisor.restarts == 0
        supervisor.restart()
        await soon(lambda: supervisor.restarts == 1)
        await soon(lambda: supervisor.state == "failed")

    run(places, scenario, model=str(card))


def test_restart_on_request(places, telemetry):
    async def scenario(supervisor):
        await soon(lambda: supervisor.state == "running")
        first = supervisor.pid
        supervisor.restart()
        await soon(lambda: supervisor.pid not in (0, first) and supervisor.state == "running")

    run(places, scenario)


def test_stop_leaves_nothing(places, telemetry):
    pids = []

    async def scenario(supervisor):
        await soon(lambda: supervisor.state == "running")
        pids.append(supervisor.pid)

    run(places, scenario)
    assert not alive(pids[0])


def test_the_engine_dies_with_its_parent(places):
    script = (
        "import asyncio, sys\n"
        "from jepad.engine.supervisor import Supervisor\n"
        "from jepad.paths import Places\n"
        "async def main():\n"
        "    s = Supervisor(Places(sys.argv[1], '', '', sys.argv[2]), model='none')\n"
        "    await s.start()\n"
        "    while s.state != 'running': await asyncio.sleep(0.02)\n"
        "    print(s.pid, flush=True)\n"
        "    await asyncio.sleep(1000)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", script, places.runtime, places.shm_prefix]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    until(lambda: not alive(pid))


def test_the_daemon_loads_no_runtime():
    script = (
        "import sys, jepad.engine.client, jepad.engine.supervisor, jepad.engine.channels\n"
        "print([m for m in ('onnxruntime', 'torch', 'onnx') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_progress():
    progress = Progress(now=0)
    assert not progress.silent(4, 5)
    assert progress.silent(6, 5)
    assert not progress.behind(6, 5, (3, 3))
    assert not progress.silent(10, 5)
    assert not progress.behind(10, 5, (3, 4))
    assert "no forecast" in progress.behind(12, 5, (3, 9))
    assert not progress.behind(13, 5, (4, 9))
    assert not progress.behind(30, 5, (4, -1))


def test_slow_telemetry_is_no_hang():
    progress = Progress(now=0)
    for now in range(0, 100, 2):
        assert not progress.behind(now, 5, (7, 7))
    assert not progress.behind(100, 5, (7, 8))
