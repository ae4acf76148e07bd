"""Descriptors over the bus: streams and dumps out, windows in and embeddings back."""

import asyncio
import fcntl
import io
import os
import socket

import numpy as np
import pytest

from jepad.bus.connection import Refused
from jepad.bus.seam import Variant


def read_all(fd):
    with open(fd, "rb") as file:
        return file.read()


def test_open_stream_gives_a_read_only_descriptor(jepad):
    (index, properties), fds = jepad.ask("OpenStream", "s", "telemetry")
    assert (index, len(fds), properties["name"].value) == (0, 1, "telemetry")
    assert fcntl.fcntl(fds[0], fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    assert read_all(fds[0]).startswith(b"Name:")


@pytest.mark.parametrize(
    ("name", "error"), [("nothing", "NotFound"), ("../x\n", "InvalidArgument"), ("", "InvalidArg")]
)
def test_open_stream_of_what_is_not_there(jepad, name, error):
    with pytest.raises(Refused, match=error):
        jepad.ask("OpenStream", "s", name)


def test_a_dump_is_whole_and_sealed(jepad):
    _, (fd,) = jepad.ask("DumpByFileDescriptor")
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
    text = read_all(fd)
    assert text.startswith("● jepad".encode())
    assert b"x" * 8192 in text


def embed(jepad, fds, handle=0, **options):
    async def body():
        async with jepad.connect() as peer:
            given = {k: Variant(*v) for k, v in options.items()}
            message = jepad.message("Embed", "ha{sv}", handle, given)
            reply = await peer.call(message, fds=fds)
            return reply.body[0], reply.unix_fds

    return asyncio.run(body())


def memfd(content):
    fd = os.memfd_create("window")
    os.write(fd, content)
    return fd


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=array.dtype == object)
    return file.getvalue()


def test_embed_takes_a_window_and_gives_a_sealed_array(jepad):
    window = np.arange(6, dtype=np.float32).reshape(3, 2)
    answer, fds = embed(jepad, [memfd(npy(window))], series=("as", ["a", "b"]), dt_s=("d", 2.0))
    assert answer["embedding"].signature == "h"
    assert answer["model"].value == "ab" * 32
    fd = fds[answer["embedding"].value]
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
    got = np.load(io.BytesIO(read_all(fd)), allow_pickle=False)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.full((2, 3), 15 * 2 + 2, np.float32))


def test_embed_reads_a_file_too(jepad, tmp_path):
    np.save(tmp_path / "w.npy", np.ones((4, 1)))
    _, fds = embed(jepad, [os.open(tmp_path / "w.npy", os.O_RDONLY)])
    assert np.load(io.BytesIO(read_all(fds[0])))[0, 0] == 5


@pytest.mark.parametrize(
    "options",
    [
        {"series": ("as", ["only one"])},
        {"series": ("as", ["a", "b", "c"])},
        {"series": ("s", "ab")},
        {"dt_s": ("d", float("nan"))},
        {"dt_s": ("d", 0.0)},
        {"dt_s": ("s", "1")},
        {"pickle": ("b", True)},
    ],
)
def test_embed_refuses_options_that_do_not_fit(jepad, options):
    with pytest.raises(Refused, match="InvalidArgument"):
        embed(jepad, [memfd(npy(np.ones((2, 2))))], **options)


def test_embed_refuses_what_is_no_window_and_leaks_nothing(jepad):
    def pipe():
        read, write = os.pipe()
        os.close(write)
        return read

    def huge():
        fd = os.memfd_create("huge")
        os.truncate(fd, 1 << 40)
        return fd

    def write_only(path="/tmp/jepad-test-write-only"):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.unlink(path)
        return fd

    makers = [
        pipe,
        huge,
        write_only,
        lambda: os.open("/dev/zero", os.O_RDONLY),
        lambda: os.open("/", os.O_RDONLY),
        lambda: os.open("/", os.O_PATH),
        lambda: os.open("/proc/self/maps", os.O_RDONLY),
        lambda: socket.socket().detach(),
        lambda: memfd(b""),
        lambda: memfd(b"not an array"),
        lambda: memfd(npy(np.array([{"a": 1}], dtype=object))),
        lambda: memfd(npy(np.ones((2, 2)))[:-1]),
        lambda: memfd(npy(np.ones(4))),
        lambda: memfd(npy(np.ones((5000, 1)))),
        lambda: memfd(npy(np.ones((2, 2), dtype=np.int64))),
        lambda: memfd(npy(np.ones((2, 2)) + 1j)),
    ]
    before = jepad.facts()["fds"]
    for make in makers:
        with pytest.raises(Refused, match="InvalidArgument"):
            embed(jepad, [make()])
    with pytest.raises(Refused, match="InvalidArgs"):
        embed(jepad, [memfd(npy(np.ones((2, 2))))], handle=3)
    with pytest.raises(Refused, match="InvalidArgs"):
        embed(jepad, [])
    assert jepad.facts()["fds"] == before


def test_descriptors_stay_with_the_call_they_came_with(jepad):
    """Many calls in one stream, some with a window and some without."""

    async def body():
        async with jepad.connect() as peer:
            calls = []
            for i in range(30):
                calls.append(asyncio.ensure_future(peer.call(jepad.message("Ping"))))
                if i % 10 == 0:
                    window = memfd(npy(np.full((2, 1), float(i))))
                    calls.append(asyncio.ensure_future(embed_one(peer, window)))
            return [r for r in await asyncio.gather(*calls) if isinstance(r, float)]

    async def embed_one(peer, window):
        message = jepad.message("Embed", "ha{sv}", 0, {})
        reply = await peer.call(message, fds=[window])
        return float(np.load(io.BytesIO(read_all(reply.unix_fds[0])))[0, 0])

    assert asyncio.run(body()) == [1.0, 21.0, 41.0]


def test_few_calls_of_one_user_may_wait(jepad):
    async def body():
        async with jepad.connect() as peer:
            calls = []
            for _ in range(10):  # each costs 20 of the 160 that may wait
                window = memfd(npy(np.full((2, 1), 7.0)))  # the server takes its time with sevens
                message = jepad.message("Embed", "ha{sv}", 0, {})
                calls.append(asyncio.ensure_future(peer.call(message, fds=[window])))
            found = await asyncio.gather(*calls, return_exceptions=True)
            return [r.name if isinstance(r, Refused) else "" for r in found]

    before = jepad.facts()["fds"]
    limited = "org.jepad1.Error.RateLimited"
    assert asyncio.run(body()) == [""] * 8 + [limited] * 2
    assert jepad.facts()["fds"] == before
