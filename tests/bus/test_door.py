"""Taking the name, losing it, being flooded, watching over ourselves."""

import asyncio
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jepad import errors
from jepad.bus.connection import Connection, Refused
from jepad.bus.door import open_door
from jepad.bus.seam import Message
from jepad.guard.limits import Budget

SERVER = Path(__file__).parent / "server.py"
ROOT = SERVER.parents[2]


@pytest.fixture(params=["dbus-fast", "dbus-next"])
def process(request, bus):
    """A server with the default burst, on a bus of its own."""
    env = os.environ | {"JEPAD_DBUS": request.param, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, str(SERVER), bus.address, str(Budget().burst)]
    with subprocess.Popen(
        argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "ready\n"
        yield child
        child.kill()


def run(bus, work):
    async def body():
        peer = await Connection.open(bus.address)
        try:
            return await work(peer)
        finally:
            peer.close()

    return asyncio.run(body())


def call(member, signature="", *body, path="/org/jepad1"):
    return Message(
        destination="org.jepad1", path=path, member=member, signature=signature, body=list(body)
    )


def test_a_foreign_owner_is_named_with_what_to_do(bus, process):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    second = subprocess.run(
        [sys.executable, str(SERVER), bus.address],
        env=env, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert second.returncode != 0
    assert f"org.jepad1 is owned by pid {process.pid} (" in second.stderr
    assert "systemctl stop jepad" in second.stderr
    assert errors.BusError.exit_code == 3


def test_when_the_bus_is_gone_the_process_ends_with_the_reason(bus, process):
    bus.process.kill()
    _, stderr = process.communicate(timeout=20)
    assert "BusError: the message bus closed our connection" in stderr


def test_name_lost_closes_the_door(bus):
    async def body():
        service = server().Service()
        door = service.door = await open_door(service, bus.address)
        with pytest.raises(errors.BusError):  # the news comes before the answer
            await door.connection.call_bus("ReleaseName", "s", "org.jepad1")
        with pytest.raises(errors.BusError, match="was taken from us"):
            await asyncio.wait_for(door.closed, 10)
        door.tick()
        await door.close()

    asyncio.run(body())


def test_a_round_trip_goes_through_the_bus(bus):
    async def body():
        service = server().Service()
        door = service.door = await open_door(service, bus.address)
        await door.round_trip()
        bus.process.kill()
        with pytest.raises(errors.BusError):
            await door.round_trip()
        with pytest.raises(errors.BusError):
            await door.closed

    asyncio.run(body())


def server():
    spec = importlib.util.spec_from_file_location("bus_server", SERVER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_thousand_pipelined_calls_pass_and_a_flood_is_told_when_to_return(bus, process):
    async def work(peer):
        async def one():
            try:
                await peer.call(call("Predict", "sta{sv}", "cpu", 0, {}), 20)
            except Refused as error:
                return str(error)
            return ""

        burst = await asyncio.gather(*(one() for _ in range(1000)))
        flood = await asyncio.gather(*(one() for _ in range(5000)))
        return burst, flood

    burst, flood = run(bus, work)
    assert set(burst) == {""}
    refused = [text for text in flood if text]
    assert len(flood) == 5000
    assert refused
    assert all(re.search(r"RateLimited: .*retry-after: \d+\.\d\d s", text) for text in refused)
    assert process.poll() is None


def test_calls_that_wait_for_the_uid_are_bounded(bus, process):
    """Before the bus has said who we are, only so much is kept for us."""

    async def work(peer):
        async def one():
            try:
                text = "x" * 30000
                await peer.call(call("Nothing", "s", text), 20)
            except Refused as error:
                return error.name.rsplit(".", 1)[1]

        return await asyncio.gather(*(one() for _ in range(400)))

    answers = run(bus, work)
    assert len(answers) == 400
    assert set(answers) <= {"UnknownMethod", "RateLimited"}
    assert process.poll() is None
