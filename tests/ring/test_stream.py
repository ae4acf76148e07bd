"""Reading: newest, next, a window, waiting, being lapped; and objects nobody vouches for."""

import gc
import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from jepad.errors import Lapped, NotFound, NotReady, RingError, SettingError
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream, listing, open_fd
from jepad.ring.writer import Writer

_spec = importlib.util.spec_from_file_location("forge", pathlib.Path(__file__).parent / "forge.py")
forge = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(forge)


@pytest.fixture
def writer(prefix, layout):
    with Writer.create(prefix, layout) as w:
        yield w


@pytest.fixture
def stream(prefix, writer):
    return Stream(prefix, "telemetry")


def publish(w, numbers):
    for i in numbers:
        w.publish(np.array([i, -i], float), 100 + i, flags=i & 1)


def test_the_header_is_what_was_declared(stream, layout):
    h = stream.header
    assert (h.name, h.shape, h.dtype, h.slots) == ("telemetry", (2,), np.float64, 8)
    assert (h.schema, h.kind, h.model_sha256) == (layout.schema, 1, b"")


def test_an_empty_stream_has_nothing_to_read(stream):
    assert stream.head == -1
    assert stream.read(timeout=0) is None
    rows, _, _, last = stream.window(4)
    assert (rows.shape, last) == ((0, 2), -1)
    with pytest.raises(NotReady), stream.latest():
        pass


def test_the_newest_record_is_seen_in_place(writer, stream):
    publish(writer, range(3))
    with stream.latest() as f:
        assert (f.n, f.t_ns, f.flags, f.array.tolist()) == (2, 102, 0, [2, -2])
        with pytest.raises(ValueError, match="read-only"):
            f.array[0] = 1
        with pytest.raises(ValueError, match=r"WRITEABLE|writeable"):
            f.array.flags.writeable = True


def test_an_overwritten_record_is_lapped_at_exit(writer, stream):
    publish(writer, range(3))
    with pytest.raises(Lapped, match="record 2"), stream.latest():
        publish(writer, range(3, 11))


def test_what_a_block_raised_over_a_torn_record_becomes_lapped(writer, stream):
    publish(writer, range(1))

    def use():
        with stream.latest() as f:
            publish(writer, range(1, 9))
            raise KeyError(f.n)

    with pytest.raises(Lapped) as caught:
        use()
    assert isinstance(caught.value.__context__, KeyError)


def test_an_array_outlives_its_stream(prefix, writer):
    publish(writer, range(1))
    s = Stream(prefix, "telemetry")
    with s.latest() as f:
        array = f.array
    s.close()
    del s, f
    gc.collect()
    assert array.tolist() == [0.0, 0.0]


def test_reading_by_number(writer, stream):
    publish(writer, range(10))
    assert stream.read().n == 9
    assert stream.read(n=5).array[0] == 5
    assert stream.read(after=5).n == 6
    assert stream.read(after=9, timeout=0) is None
    for lapped in ({"n": 1}, {"after": -1}):
        with pytest.raises(Lapped):
            stream.read(**lapped)
    with pytest.raises(SettingError):
        stream.read(n=-1)


def test_reading_into_an_array_of_the_callers(writer, stream):
    publish(writer, range(2))
    out = np.empty(2)
    assert stream.read(out=out).array is out
    for bad in (np.empty(3), np.empty(2, "f4"), np.empty(4)[::2]):
        with pytest.raises((SettingError, ValueError)):
            stream.read(out=bad)


def test_a_waiting_reader_is_woken(writer, stream):
    got = []
    thread = threading.Thread(target=lambda: got.append(stream.read(after=-1, timeout=30)))
    thread.start()
    publish(writer, range(1))
    thread.join()
    assert got[0].n == 0


def test_waiting_without_a_copy(writer, stream):
    assert not stream.wait(0, timeout=0)
    publish(writer, range(3))
    assert stream.wait(2, timeout=30)
    assert not stream.wait(3, timeout=0)


def test_a_signal_is_handled_while_waiting(writer, stream):
    class Rang(Exception):
        pass

    def ring(*_):
        raise Rang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        with pytest.raises(Rang):
            stream.read(timeout=60)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_window_is_contiguous_and_oldest_first(writer, stream):
    publish(writer, range(3))
    rows, t_ns, flags, last = stream.window(100)
    assert (rows[:, 0].tolist(), t_ns.tolist(), last) == ([0, 1, 2], [100, 101, 102], 2)
    assert flags.tolist() == [0, 1, 0]
    publish(writer, range(3, 30))
    rows, t_ns, _, last = stream.window(4)
    assert (rows[:, 1].tolist(), last) == ([-26, -27, -28, -29], 29)
    assert len(stream.window(1000)[0]) == 8
    assert len(stream.window(0)[0]) == 0


def test_windows_are_whole_while_the_writer_runs(prefix):
    """Each row says its own number in both its ends."""
    layout = Layout("telemetry", "f8", (64,), {}, 4)
    pid = os.fork()
    if pid == 0:
        w = Writer.create(prefix, layout)
        while True:
            w.publish(np.full(64, float(Stream(prefix, "telemetry").head + 1)), 0)
    try:
        while not listing(prefix):
            pass
        s = _eventually(prefix)
        s.read(timeout=30)
        for _ in range(3000):
            rows, _, _, last = s.window(4)
            wanted = np.arange(last - len(rows) + 1, last + 1)
            assert (rows == wanted[:, None]).all()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _eventually(prefix):
    while True:
        try:
            return Stream(prefix, "telemetry")
        except NotFound:
            continue


def test_a_missing_stream_is_not_found(prefix):
    with pytest.raises(NotFound):
        Stream(prefix, "telemetry")
    with pytest.raises(NotFound):
        open_fd(prefix, "telemetry")


def test_streams_are_listed_without_their_locks(prefix, layout):
    with (
        Writer.create(prefix, layout),
        Writer.create(prefix, Layout("embeddings.machine", "f4", (7, 64), {}, 8)),
    ):
        assert listing(prefix) == ["embeddings.machine", "telemetry"]
        assert listing(prefix[:-1]) == []


def test_a_descriptor_can_be_handed_over(prefix, writer):
    publish(writer, range(2))
    fd = open_fd(prefix, "telemetry")
    s = Stream.from_fd(fd)
    os.close(fd)
    assert (s.header.name, s.read().n) == ("telemetry", 1)


def test_a_closed_stream_says_so(stream):
    stream.close()
    with pytest.raises(RingError, match="closed"):
        _ = stream.head


def test_importing_the_ring_loads_little():
    code = "import sys, jepad.ring.stream, jepad.ring.writer; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "cffi", "pycparser", "zmq", "posix_ipc", "multiprocessing", "email"}
    assert heavy.isdisjoint(out.stdout.split())


# ---- objects that nobody vouches for ----


def put(prefix, data):
    pathlib.Path(f"/dev/shm/{prefix}.golden").write_bytes(data)


def changed(**fields):
    h = forge.header()
    for name, value in fields.items():
        h[name] = value
    return forge.image(h)


TOP = 1 << 63


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"magic": b"JEPADSHN"}, "wrong magic"),
        ({"byte_order": 0x04030201}, "byte order"),
        ({"abi_major": 2}, "ABI 2"),
        ({"header_size": 0x800}, "impossible size"),
        ({"total_size": 8192}, "outside"),
        ({"total_size": 1 << 41}, "truncated"),
        ({"slot_count": 3}, "slot count"),
        ({"slot_count": 2}, "slot count"),
        ({"slot_count": TOP}, "slot count"),
        ({"slot_count": 1 << 32}, "outside"),
        ({"payload_stride": 0}, "outside"),
        ({"payload_stride": TOP}, "outside"),
        ({"payload_stride": (1 << 62) + 64}, "outside"),
        ({"payload_cap": 25}, "shape"),
        ({"shape": [TOP, 2, 0, 0, 0, 0]}, "shape"),
        ({"shape": [0, 3, 0, 0, 0, 0]}, "shape"),
        ({"ndim": 7}, "shape"),
        ({"ndim": 0}, "shape"),
        ({"bits": 7}, "shape"),
        ({"lanes": 0}, "shape"),
        ({"slothdr_off": 0}, "outside"),
        ({"slothdr_off": 0x1001}, "outside"),
        ({"slothdr_off": (1 << 64) - 64}, "outside"),
        ({"data_off": (1 << 64) - 4096}, "outside"),
        ({"schema_off": 0xFFFFFFFF}, "outside"),
        ({"schema_len": 0xFFFFFFFF}, "outside"),
        ({"name": b"x" * 48}, "unterminated"),
        ({"name": b"other"}, "calls itself"),
    ],
)
def test_a_hostile_header_is_refused(prefix, fields, why):
    put(prefix, changed(**fields))
    with pytest.raises(RingError, match=why):
        Stream(prefix, "golden")


@pytest.mark.parametrize("fields", [{"abi_minor": 9}, {"flags": 0xFFFFFFFF}, {"reserved": 5}])
def test_what_a_later_minor_version_adds_is_ignored(prefix, fields):
    put(prefix, changed(**fields))
    assert Stream(prefix, "golden").read().n == 5


def test_damage_shows_in_the_checksums(prefix):
    for at, why in ((0x34, "checksum"), (0xE5, "checksum"), (0x1103, "layout hash")):
        data = bytearray(forge.image())
        data[at] ^= 1
        put(prefix, bytes(data))
        with pytest.raises(RingError, match=why):
            Stream(prefix, "golden")


def test_every_truncation_is_refused(prefix):
    whole = forge.image()
    for size in [1, 7, 8, 0xFF, 0x104, 0xFFF, 0x1000, 0x1001, 8191, 8192, len(whole) - 1]:
        put(prefix, whole[:size])
        with pytest.raises(RingError, match="truncated"):
            Stream(prefix, "golden")


def test_an_unfinished_object_is_not_found(prefix):
    for data in (b"", bytes(len(forge.image()))):
        put(prefix, data)
        with pytest.raises(NotFound, match="being created"):
            Stream(prefix, "golden")


def test_a_head_that_lies_harms_nobody(prefix):
    for head in (0, 3, 100, TOP, (1 << 64) - 1):
        put(prefix, changed(head=head))
        s = Stream(prefix, "golden")
        rows, *_ = s.window(8)
        assert len(rows) in {0, 1, 4}
        if head < 2:
            assert s.read(n=1, timeout=0) is None
        else:
            with pytest.raises(Lapped):
                s.read(n=1)


def test_a_slot_that_claims_too_much_is_refused(prefix):
    data = bytearray(forge.image())
    data[0x1040 + 0x18 : 0x1040 + 0x1C] = (1 << 31).to_bytes(4, "little")
    put(prefix, bytes(data))
    s = Stream(prefix, "golden")
    with pytest.raises(RingError):
        s.read()
    with pytest.raises(RingError), s.latest():
        pass


def test_a_link_a_pipe_and_a_file_elsewhere_are_refused(prefix, tmp_path):
    file = tmp_path / "jepad.golden"
    file.write_bytes(forge.image())
    path = f"/dev/shm/{prefix}.golden"
    os.symlink(file, path)
    with pytest.raises(RingError, match="symbolic link"):
        Stream(prefix, "golden")
    os.unlink(path)
    os.mkfifo(path)
    with pytest.raises(RingError, match="regular"):
        Stream(prefix, "golden")


@pytest.mark.may_skip("the temporary directory is in memory here")
def test_an_object_outside_of_shared_memory_is_refused(tmp_path):
    if subprocess.check_output(["stat", "-f", "-c", "%T", tmp_path], text=True).strip() == "tmpfs":
        pytest.skip("tmp_path is on tmpfs")
    (tmp_path / "jepad.golden").write_bytes(forge.image())
    with pytest.raises(RingError, match="tmpfs"):
        Stream(f"{tmp_path}/jepad", "golden")


def test_a_schema_that_is_no_json_object_is_refused(prefix, monkeypatch):
    for text in (b'{"columns":["a","b","c",}'[:25], b'["columns","a","b","c",""]'[:25]):
        monkeypatch.setattr(forge, "SCHEMA", text.ljust(25)[:25])
        put(prefix, forge.image())
        with pytest.raises(RingError, match="JSON"):
            Stream(prefix, "golden")
