"""The transports that the ring is put beside: each with its receiver and its sender in Python.

Owns: how a numpy array gets from one process to another by each of them; its first eight bytes
say when it was sent.
Does not know: what is measured.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import zmq
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from bench.wake import Job, Note, Peer, Send
from jepad.errors import Lapped, NotFound
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer

_PREFIX = f"jepad-bench-{os.getpid()}"


def _stamp(message: bytearray) -> None:
    message[:8] = time.monotonic_ns().to_bytes(8, "little")


def _sent(message: bytearray | bytes | memoryview) -> int:
    return int.from_bytes(message[:8], "little")


# ---- the ring ----


def _ring_stream(name: str) -> Stream:
    while True:
        try:
            return Stream(_PREFIX, name)
        except NotFound:
            time.sleep(0.01)


def _ring_look(job: Job, note: Note) -> None:
    stream = _ring_stream(f"look{job.size}")
    note(job.rounds, 0)
    for i in range(job.rounds):
        with suppress(Lapped):
            stream.wait(i, timeout=60)
            with stream.latest() as frame:
                note(frame.n, frame.t_ns)


def _ring_receive(job: Job, note: Note) -> None:
    stream = _ring_stream(f"wake{job.size}")
    note(job.rounds, 0)
    out = np.empty(job.size, np.uint8)
    for i in range(job.rounds):
        with suppress(Lapped):  # on a loaded machine; the round counts as not seen
            if frame := stream.read(n=i, timeout=60, out=out):
                note(i, frame.t_ns)


def _ring_send(job: Job, stack: ExitStack, name: str = "wake") -> Send:
    slots = 64 if job.size < 65536 else 8
    writer = Writer.create(_PREFIX, Layout(f"{name}{job.size}", "u1", (job.size,), {}, slots))
    stack.callback(writer.retire)
    payload = np.zeros(job.size, np.uint8)

    def send(_round: int) -> None:
        writer.publish(payload, time.monotonic_ns())

    return send


# ---- Unix sockets ----


def _socket_path(job: Job) -> str:
    return f"{job.directory}/socket{job.size}"


def _receive_socket(kind: socket.SocketKind, job: Job, note: Note) -> None:
    with socket.socket(socket.AF_UNIX, kind) as listening:
        listening.bind(_socket_path(job))
        listening.listen(1)
        peer, _ = listening.accept()
    note(job.rounds, 0)
    message = bytearray(job.size)
    array: Any = np.frombuffer(message, np.uint8)
    for i in range(job.rounds):
        got = peer.recv_into(array)
        while got < job.size:
            got += peer.recv_into(array[got:])
        note(i, _sent(message))


def _send_socket(kind: socket.SocketKind, job: Job, stack: ExitStack) -> Send:
    out = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
    _retry(lambda: out.connect(_socket_path(job)))
    message = bytearray(job.size)
    array: Any = np.frombuffer(message, np.uint8)

    def send(_round: int) -> None:
        _stamp(message)
        out.sendall(array)

    return send


def _retry(connect: Callable[[], object]) -> None:
    for _ in range(500):
        with suppress(OSError):
            connect()
            return
        time.sleep(0.01)
    raise TimeoutError("the receiver did not come up")


def _socket_peer(kind: socket.SocketKind) -> Peer:
    return Peer(
        lambda job, note: _receive_socket(kind, job, note),
        lambda job, stack: _send_socket(kind, job, stack),
    )


# ---- ZeroMQ ----


def _zmq_receive(job: Job, note: Note) -> None:
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.bind(f"ipc://{job.directory}/zmq{job.size}")
        note(job.rounds, 0)
        for i in range(job.rounds):
            note(i, _sent(pull.recv()))


def _zmq_send(job: Job, stack: ExitStack) -> Send:
    context = stack.enter_context(zmq.Context())
    push = stack.enter_context(context.socket(zmq.PUSH))
    push.linger = 0
    push.connect(f"ipc://{job.directory}/zmq{job.size}")
    message = bytearray(job.size)
    array: Any = np.frombuffer(message, np.uint8)

    def send(_round: int) -> None:
        _stamp(message)
        push.send(array)

    return send


# ---- a D-Bus signal ----

_PATH, _INTERFACE = "/bench", "org.jepad1.Bench"


def _bus_address(job: Job) -> str:
    return f"unix:path={job.directory}/bus"


@contextmanager
def _private_bus(job: Job) -> Iterator[None]:
    argv = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={_bus_address(job)}"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as daemon:
        _retry(lambda: os.stat(f"{job.directory}/bus"))
        try:
            yield
        finally:
            daemon.terminate()


def _bus_receive(job: Job, note: Note) -> None:
    async def receive() -> None:
        bus = await _connected(job)
        rounds = iter(range(job.rounds))

        def on_message(message: Message) -> None:
            if message.message_type is MessageType.SIGNAL and message.interface == _INTERFACE:
                note(next(rounds), _sent(message.body[0]))

        bus.add_message_handler(on_message)
        rule = f"type='signal',interface='{_INTERFACE}'"
        await bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=[rule],
            )
        )
        note(job.rounds, 0)
        await asyncio.get_running_loop().create_future()  # until killed

    asyncio.run(receive())


def _bus_send(job: Job, stack: ExitStack) -> Send:
    loop = asyncio.new_event_loop()
    stack.callback(loop.close)
    bus = loop.run_until_complete(_connected(job))
    stack.callback(bus.disconnect)
    message = bytearray(job.size)

    def send(_round: int) -> None:
        _stamp(message)
        signal = Message.new_signal(_PATH, _INTERFACE, "Sent", "ay", [bytes(message)])
        loop.run_until_complete(bus.send(signal))

    return send


async def _connected(job: Job) -> MessageBus:
    return await MessageBus(bus_address=_bus_address(job)).connect()


# ---- iceoryx2 ----


def _ice_ports(job: Job) -> Any:
    ice: Any = importlib.import_module("iceoryx2")

    ice.set_log_level(ice.LogLevel.Error)
    node = ice.NodeBuilder.new().create(ice.ServiceType.Ipc)
    name = ice.ServiceName.new(f"{_PREFIX}/{job.size}")
    data = node.service_builder(name).publish_subscribe(ice.Slice[ctypes.c_uint8])
    return node, data.open_or_create(), node.service_builder(name).event().open_or_create()


def _ice_receive(job: Job, note: Note) -> None:
    node, data, event = _ice_ports(job)
    subscriber, listener = data.subscriber_builder().create(), event.listener_builder().create()
    out = (ctypes.c_uint8 * job.size)()
    note(job.rounds, 0)
    for i in range(job.rounds):
        sample = subscriber.receive()
        while sample is None:
            listener.blocking_wait()
            sample = subscriber.receive()
        # Like the ring's readers: a small record is copied, a frame is looked at in place.
        ctypes.memmove(out, sample.payload().as_ptr(), job.size if job.size < 65536 else 8)
        sample.delete()
        note(i, int.from_bytes(bytes(out[:8]), "little"))
    del node


def _ice_send(job: Job, stack: ExitStack) -> Send:
    node, data, event = _ice_ports(job)
    publisher = data.publisher_builder().initial_max_slice_len(job.size).create()
    notifier = event.notifier_builder().create()
    stack.callback(lambda: node)
    message = bytearray(job.size)
    source = (ctypes.c_uint8 * job.size).from_buffer(message)

    def send(_round: int) -> None:
        _stamp(message)
        loaned = publisher.loan_slice_uninit(job.size)
        ctypes.memmove(loaned.payload().as_ptr(), source, job.size)
        loaned.assume_init().send()
        notifier.notify()

    return send


_ICE = Peer(
    _ice_receive,
    _ice_send,
    missing="" if importlib.util.find_spec("iceoryx2") else "iceoryx2 is not installed",
)
_BUS = Peer(
    _bus_receive,
    _bus_send,
    _private_bus,
    missing="" if shutil.which("dbus-daemon") else "dbus-daemon is not installed",
)
_RING, _ZMQ = Peer(_ring_receive, _ring_send), Peer(_zmq_receive, _zmq_send)
SMALL_PEERS = {
    "ring": _RING,
    "unix seqpacket": _socket_peer(socket.SOCK_SEQPACKET),
    "iceoryx2": _ICE,
    "pyzmq ipc": _ZMQ,
    "D-Bus signal": _BUS,
}
#: As a reader of frames looks at them: in place, without a copy.
_LOOK = Peer(_ring_look, lambda job, stack: _ring_send(job, stack, "look"))
FRAME_PEERS = {
    "ring": _LOOK,
    "ring, copied": _RING,
    "unix stream": _socket_peer(socket.SOCK_STREAM),
    "iceoryx2": _ICE,
    "pyzmq ipc": _ZMQ,
}
