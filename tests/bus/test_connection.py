"""The connection: nothing is lost when the bus stalls, every call ends, the end is noticed."""

import asyncio
import os
import signal
import socket
import time

import pytest

from jepad.bus.connection import Connection, Refused
from jepad.bus.seam import Message, MessageType, encode
from jepad.bus.variants import unwrap
from jepad.errors import BusError

CALLS = 1500


def settle(condition):
    """Wait for another process; the deadline is generous."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    settle(lambda: state(pid) == "T")


def test_a_pipelined_burst_against_a_stalled_bus_is_answered_in_full(jepad):
    """8 KiB answers to calls that already wait, while the bus takes nothing: EAGAIN for certain."""
    before = jepad.facts()["stalls"]

    async def body():
        async with jepad.connect() as peer:
            await peer.call(jepad.message("Ping"))
            stop(jepad.process.pid)
            calls = [
                asyncio.ensure_future(peer.call(jepad.message("Describe"))) for _ in range(CALLS)
            ]
            await asyncio.sleep(0.3)  # the bus passes on what the socket of jepad holds
            stop(jepad.bus.pid)
            os.kill(jepad.process.pid, signal.SIGCONT)
            await asyncio.sleep(0.3)
            os.kill(jepad.bus.pid, signal.SIGCONT)
            return await asyncio.gather(*calls)

    replies = asyncio.run(body())
    assert len(replies) == CALLS
    assert all(len(reply.body[0]) > 8192 for reply in replies)
    assert jepad.facts()["stalls"] > before
    assert jepad.process.poll() is None


def test_a_burst_of_signals_against_a_stalled_bus_arrives_in_full_and_in_order(jepad):
    got = []

    async def body():
        async with jepad.connect() as peer:
            peer.on_message = lambda message, _: got.append(message.body[0])
            rule = "type='signal',interface='org.jepad1.Resource',member='PredictionCleared'"
            await peer.call_bus("AddMatch", "s", rule)
            before = stalls(await peer.call(jepad.message("GetWorldState")))
            stop(jepad.process.pid)
            burst = asyncio.ensure_future(
                peer.call(jepad.message("Predict", "sta{sv}", "burst:5000", 0, {}), 20)
            )
            await asyncio.sleep(0.2)
            stop(jepad.bus.pid)
            os.kill(jepad.process.pid, signal.SIGCONT)
            await asyncio.sleep(0.5)
            os.kill(jepad.bus.pid, signal.SIGCONT)
            await burst
            return before, stalls(await peer.call(jepad.message("GetWorldState")))

    before, after = asyncio.run(body())
    assert got == [f"/org/jepad1/prediction/{i}" for i in range(5000)]
    assert after > before


def stalls(reply):
    return unwrap(reply.body[0])["facts"]["stalls"]


def test_a_call_that_nobody_answers_ends_at_its_deadline(bus):
    async def body():
        silent, caller = await Connection.open(bus.address), await Connection.open(bus.address)
        message = Message(destination=silent.unique_name, path="/", member="Wait")
        try:
            with pytest.raises(BusError, match=r"Wait: no answer in 0\.2 s"):
                await caller.call(message, timeout_s=0.2)
        finally:
            silent.close()
            caller.close()

    asyncio.run(body())


def test_the_error_of_a_peer_has_its_name(bus):
    async def body():
        peer = await Connection.open(bus.address)
        try:
            with pytest.raises(Refused) as caught:
                await peer.call_bus("GetNameOwner", "s", "org.example.Nobody")
        finally:
            peer.close()
        return caught.value.name

    assert asyncio.run(body()) == "org.freedesktop.DBus.Error.NameHasNoOwner"


def test_when_the_bus_dies_waiting_calls_fail_and_closed_tells(bus):
    async def body():
        silent, caller = await Connection.open(bus.address), await Connection.open(bus.address)
        waiting = asyncio.ensure_future(
            caller.call(Message(destination=silent.unique_name, path="/", member="Wait"))
        )
        await caller.call_bus("GetId")
        bus.process.kill()
        with pytest.raises(BusError):
            await waiting
        with pytest.raises(BusError, match="closed our connection"):
            await caller.closed
        with pytest.raises(BusError):
            await caller.call_bus("GetId")
        silent.close()

    asyncio.run(body())


def test_close_is_no_error(bus):
    async def body():
        peer = await Connection.open(bus.address)
        peer.close()
        peer.close()
        await peer.closed

    asyncio.run(body())


def test_descriptors_given_to_send_are_closed_whatever_becomes_of_them(bus):
    def reply(*body):
        return Message(
            message_type=MessageType.METHOD_RETURN,
            destination=peer.unique_name,
            reply_serial=99999,
            signature="h",
            body=list(body),
        )

    def null():
        return [os.open("/dev/null", os.O_RDONLY)]

    async def body():
        nonlocal peer
        peer = await Connection.open(bus.address)
        before = os.listdir("/proc/self/fd")
        peer.send(reply(0), null())
        with pytest.raises(ValueError, match="reply"):
            peer.send(reply("no index"), null())
        await peer.call_bus("GetId")
        after = os.listdir("/proc/self/fd")
        peer.close()
        closed = os.listdir("/proc/self/fd")
        peer.send(reply(0), null())
        assert os.listdir("/proc/self/fd") == closed
        return before, after

    peer = None
    before, after = asyncio.run(body())
    assert before == after


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("unix:path=/nowhere/bus", "cannot reach the bus"),
        ("tcp:host=localhost,port=1", "only unix:path="),
        ("", "only unix:path="),
    ],
)
def test_an_address_that_is_no_good_says_so(address, words):
    with pytest.raises(BusError, match=words):
        asyncio.run(Connection.open(address))


def test_a_server_that_speaks_something_else_is_refused(tmp_path):
    async def body():
        async def talk(reader, writer):
            await reader.readline()
            writer.write(b"HTTP/1.1 400 Bad Request\r\n")
            writer.close()

        server = await asyncio.start_unix_server(talk, tmp_path / "s")
        async with server:
            await Connection.open(f"unix:path={tmp_path}/s")

    with pytest.raises(BusError, match="refused to let us in"):
        asyncio.run(body())


def test_a_flood_leaves_turns_to_the_rest_of_the_daemon():
    """All calls are in one read, each takes its time; other work still runs in between."""
    count = 60

    async def body():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        connection = Connection(ours, 1000)
        turns, seen = 0, []

        def other_work():
            nonlocal turns
            turns += 1
            loop.call_soon(other_work)

        def slow(message, _size):
            time.sleep(0.002)
            seen.append((message.serial, turns))

        loop = asyncio.get_running_loop()
        connection.on_message = slow
        frames = (Message(path="/", member="M", serial=i) for i in range(1, count + 1))
        theirs.sendall(b"".join(encode(m) for m in frames))
        connection._resume()
        loop.call_soon(other_work)
        while len(seen) < count:
            await asyncio.sleep(0.01)
        connection.close()
        theirs.close()
        return seen

    seen = asyncio.run(body())
    assert [serial for serial, _ in seen] == list(range(1, count + 1))
    assert len({turns for _, turns in seen}) >= count * 2 // 10
