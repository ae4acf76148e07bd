"""The engine is killed, stopped, hung and damaged; the supervisor makes the best of it."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from jepad.engine.supervisor import Progress, Supervisor
from jepad.errors import NotFound, NotReady, RingError
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
        assert supervisor.reason.startswith("the model file can't be used (exit code 4): ")
        assert str(card) in supervisor.reason
        assert supervisor.restarts == 0

    run(places, scenario, model=str(card))


def stand_in(tmp_path, monkeypatch, text):
    """A program in the engine's place: the supervisor starts it with the engine's flags."""
    program = tmp_path / "engine"
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        ("exit 1", "restarting", "exit code 1"),
        ("exit 2", "failed", "a setting can't be used (exit code 2): see its message in the log"),
        ("echo why >&2; exit 2", "failed", "a setting can't be used (exit code 2): why"),
        ("echo why >&2; exit 1", "restarting", "exit code 1: why"),
        ("echo x >&2; kill -KILL $$", "restarting", "killed by signal 9 (Killed)"),
        ("kill -KILL $$", "restarting", "killed by signal 9 (Killed)"),
    ],
)
def test_the_reason_says_what_the_end_means(places, tmp_path, monkeypatch, end, state, reason):
    stand_in(tmp_path, monkeypatch, f"#!/bin/sh\n{end}\n")

    async def scenario(supervisor):
        await soon(lambda: supervisor.state == state)
        assert supervisor.reason == reason

    run(places, scenario)


REFUSES = """#!{python}
import zmq
from jepad.engine import wire
door = zmq.Context().socket(zmq.ROUTER)
door.bind({endpoint!r})
for n in range(10**6):
    sender, payload = door.recv_multipart()
    asked = wire.read_request(payload)
    answer = refused if n else wire.Pong(asked.id, n, "forecasting")
    door.send_multipart([sender, wire.encode(answer)])
"""


def test_an_engine_that_refuses_to_say_how_it_is_gets_replaced(places, tmp_path, monkeypatch):
    os.makedirs(places.runtime)
    text = REFUSES.replace("refused", f"wire.Refused(asked.id, {NotReady.bus_name!r}, 'not yet')")
    filled = text.format(python=sys.executable, endpoint=places.engine_socket)
    stand_in(tmp_path, monkeypatch, filled)

    async def scenario(supervisor):
        await soon(lambda: supervisor.state == "running")
        await soon(lambda: supervisor.restarts == 1)
        assert supervisor.reason.startswith("no answer for")

    run(places, scenario)


def test_a_fault_of_the_supervisor_is_told_and_it_tries_again(places, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("jepad"), "propagate", True)

    async def scenario(supervisor):
        await soon(lambda: supervisor.state == "running")
        first = supervisor.pid
        await supervisor.client.close()  # a ping raises ZMQError from now on
        await soon(lambda: supervisor.state == "failed")
        assert "ZMQError" in supervisor.reason
        assert "could not be supervised" in caplog.text
        assert not alive(first)
        await soon(lambda: supervisor.restarts == 2)

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
    assert not progress.behind(6, 5, (3, 3))
    assert not progress.behind(10, 5, (3, 4))
    assert "no forecast" in progress.behind(12, 5, (3, 9))
    assert not progress.behind(13, 5, (4, 9))
    assert not progress.behind(30, 5, (4, -1))


def test_slow_telemetry_is_no_hang():
    progress = Progress(now=0)
    for now in range(0, 100, 2):
        assert not progress.behind(now, 5, (7, 7))
    assert not progress.behind(100, 5, (7, 8))
