"""A stream's life: created, taken over, replaced, retired; and what stands in its way."""

import ctypes
import os
import signal
import threading

import numpy as np
import pytest

from jepad.errors import RingError, SettingError
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream, listing
from jepad.ring.writer import Writer

root = pytest.mark.may_skip("needs root, to be another user and to mount")


def values(n):
    return np.full(2, float(n))


def test_records_are_numbered_from_zero(prefix, layout):
    with Writer.create(prefix, layout) as w:
        assert [w.publish(values(i), i) for i in range(20)] == list(range(20))
        assert Stream(prefix, "telemetry").head == 19


def test_arrays_are_made_to_fit_the_element_type_but_not_the_shape(prefix, layout):
    with Writer.create(prefix, layout) as w:
        w.publish(np.arange(4, dtype=np.int32)[::2], 0)
        assert Stream(prefix, "telemetry").read().array.tolist() == [0.0, 2.0]
        with pytest.raises(SettingError, match="shape"):
            w.publish(np.zeros(3), 0)


def test_a_second_writer_is_kept_out(prefix, layout):
    with (
        Writer.create(prefix, layout),
        pytest.raises(RingError, match="has a writer already"),
    ):
        Writer.create(prefix, layout)


def test_a_next_writer_goes_on_where_the_last_one_left(prefix, layout):
    first = Writer.create(prefix, layout)
    generation = first.generation
    for i in range(3):
        first.publish(values(i), i)
    s = Stream(prefix, "telemetry")
    first.close()
    assert s.state == "stopped"
    with Writer.create(prefix, layout) as second:
        assert (second.generation, s.epoch, s.state) == (generation, 2, "live")
        assert second.publish(values(3), 3) == 3
        assert s.read(after=2).array[0] == 3.0
        assert s.read(n=3).epoch == 2


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (3,)},
        {"slots": 16},
        {"dtype": "f4"},
        {"schema": {"series": []}},
        {"model_sha256": b"m" * 32},
        {"payload_crc": True},
    ],
)
def test_a_changed_layout_makes_a_new_object(prefix, layout, change):
    fields = {f: getattr(layout, f) for f in layout.__slots__}
    first = Writer.create(prefix, layout)
    first.publish(values(1), 1)
    s = Stream(prefix, "telemetry")
    first.close()
    with Writer.create(prefix, Layout(**{**fields, **change})) as second:
        assert second.generation != s.header.generation
        assert s.state == "retired"
        assert Stream(prefix, "telemetry").head == -1


def test_retiring_leaves_nothing_behind(prefix, layout):
    w = Writer.create(prefix, layout)
    w.publish(values(7), 7)
    s = Stream(prefix, "telemetry")
    w.retire()
    assert s.state == "retired"
    assert s.read(n=0).array[0] == 7.0
    assert [e for e in os.listdir("/dev/shm") if e.startswith(prefix)] == []


def test_a_closed_writer_says_so(prefix, layout):
    w = Writer.create(prefix, layout)
    w.close()
    w.close()
    with pytest.raises(RingError, match="closed"):
        w.publish(values(0), 0)


def test_publishing_from_many_threads_loses_nothing(prefix, layout):
    got = []

    def work(w):
        got.extend([w.publish(values(0), 0) for _ in range(500)])

    with Writer.create(prefix, layout) as w:
        threads = [threading.Thread(target=work, args=(w,)) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(got) == list(range(2000))


def test_the_object_and_its_lock_have_the_asked_modes(prefix, layout):
    with Writer.create(prefix, layout, mode=0o640, group=os.getgid()):
        st = os.stat(f"/dev/shm/{prefix}.telemetry")
        assert (st.st_mode & 0o7777, st.st_gid) == (0o640, os.getgid())
        assert os.stat(f"/dev/shm/{prefix}.telemetry.lock").st_mode & 0o7777 == 0o600
    assert listing(prefix) == ["telemetry"]


def test_an_unknown_group_is_named(prefix, layout):
    with pytest.raises(SettingError, match="no-such-group"):
        Writer.create(prefix, layout, group="no-such-group")


@pytest.mark.parametrize(
    "change",
    [
        {"slots": 2},
        {"slots": 6},
        {"slots": 1 << 30},
        {"shape": ()},
        {"shape": (0,)},
        {"shape": (1,) * 7},
        {"model_sha256": b"short"},
        {"schema": {"x": float("nan")}},
    ],
)
def test_impossible_layouts_are_refused(prefix, layout, change):
    fields = {f: getattr(layout, f) for f in layout.__slots__}
    with pytest.raises((SettingError, ValueError)):
        Writer.create(prefix, Layout(**{**fields, **change}))
    assert listing(prefix) == []


@pytest.mark.parametrize("left", [b"", b"junk", bytes(0x1000), b"JEPADSHM" + bytes(9000)])
def test_wreckage_of_our_own_is_replaced(prefix, layout, left):
    with open(f"/dev/shm/{prefix}.telemetry", "wb") as file:
        file.write(left)
    with Writer.create(prefix, layout) as w:
        assert w.publish(values(0), 0) == 0


def test_a_symlink_in_the_way_is_not_followed(prefix, layout, tmp_path):
    target = tmp_path / "precious"
    target.write_text("precious")
    os.symlink(target, f"/dev/shm/{prefix}.telemetry")
    with pytest.raises(RingError, match="in the way"):
        Writer.create(prefix, layout)
    assert target.read_text() == "precious"


def test_a_lock_file_that_others_can_open_is_refused(prefix, layout):
    os.close(os.open(f"/dev/shm/{prefix}.telemetry.lock", os.O_CREAT | os.O_RDWR, 0o666))
    os.chmod(f"/dev/shm/{prefix}.telemetry.lock", 0o666)
    with pytest.raises(RingError, match="private"):
        Writer.create(prefix, layout)


@root
@pytest.mark.skipif(os.getuid() != 0, reason="not root")
@pytest.mark.parametrize("suffix", ["", ".lock"])
def test_a_name_squatted_by_another_user_is_an_error(prefix, layout, as_user, suffix):
    path = f"/dev/shm/{prefix}.telemetry{suffix}"
    assert as_user(lambda: os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))) == "None"
    with pytest.raises(RingError, match=r"not trusted|another user|private"):
        Writer.create(prefix, layout)


@root
@pytest.mark.skipif(os.getuid() != 0, reason="not root")
def test_a_full_shared_memory_is_an_error_and_no_crash(prefix, as_user):
    """In a mount namespace of its own, with a /dev/shm of one MiB."""

    def attempt():
        libc = ctypes.CDLL(None, use_errno=True)
        clone_newns, ms_rec_private = 0x00020000, 0x4000 | 1 << 18
        assert libc.unshare(clone_newns) == 0
        assert libc.mount(b"none", b"/", None, ms_rec_private, None) == 0
        assert libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"size=1m") == 0
        Writer.create(prefix, Layout("fits", "f8", (64,), {}, 1024)).close()
        try:
            Writer.create(prefix, Layout("frames.big", "f8", (4096,), {}, 64))
        except RingError as error:
            return f"{error}; left: {listing(prefix)}"
        return "created"

    text = as_user(attempt, 0, 0)
    assert "needs 2060 KiB of shared memory, 4" in text
    assert text.endswith("left: ['fits']")


def die_publishing(prefix, layout, records):
    """A child that publishes, and is killed with its last record stored."""
    pid = os.fork()
    if pid == 0:
        w = Writer.create(prefix, layout)
        for _ in range(records):
            n = Stream(prefix, "telemetry").head + 1
            w.publish(values(n), n)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


def test_readers_stay_on_while_writers_are_killed(prefix, layout):
    die_publishing(prefix, layout, 3)
    s = Stream(prefix, "telemetry")
    generation = s.header.generation
    for round_ in range(2, 8):
        die_publishing(prefix, layout, 3)
        assert (s.epoch, s.head) == (round_, 3 * round_ - 1)
        rows, t_ns, _, last = s.window(8)
        assert rows[:, 0].tolist() == t_ns.tolist() == list(range(last - len(rows) + 1, last + 1))
    assert Stream(prefix, "telemetry").header.generation == generation
    assert s.state_after(60) == "live"
    assert s.state_after(0) == "dead"
