"""What another user of the machine can do to a stream: read it where the mode says so, no more."""

import ctypes
import fcntl
import mmap
import os

import numpy as np
import pytest

from jepad.errors import RingError
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream, open_fd
from jepad.ring.writer import Writer

pytestmark = [
    pytest.mark.may_skip("needs root, to be another user"),
    pytest.mark.skipif(os.getuid() != 0, reason="not root"),
]
NOBODY = 65534
READERS = 54321
F_ADD_SEALS = 1033


@pytest.fixture
def path(prefix, layout):
    """A stream that every user may read."""
    with Writer.create(prefix, layout, mode=0o644) as w:
        w.publish(np.array([1.0, 2.0]), 5)
        yield f"/dev/shm/{prefix}.telemetry"
        assert w.publish(np.array([3.0, 4.0]), 6) == 1
        assert Stream(prefix, "telemetry").read().array.tolist() == [3.0, 4.0]


def opened(path, mode=os.O_RDONLY):
    return os.open(path, mode)


def mapped_writable(path):
    mmap.mmap(opened(path), 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


def made_writable_later(path):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    at = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, opened(path), 0)
    if libc.mprotect(ctypes.c_void_p(at), 4096, mmap.PROT_READ | mmap.PROT_WRITE) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def reopened(path):
    os.open(f"/proc/self/fd/{opened(path)}", os.O_RDWR)


ATTACKS = {
    "open for writing": lambda path: opened(path, os.O_RDWR),
    "open and truncate": lambda path: opened(path, os.O_RDONLY | os.O_TRUNC),
    "map for writing": mapped_writable,
    "make a mapping writable": made_writable_later,
    "reopen through /proc": reopened,
    "truncate": lambda path: os.truncate(path, 0),
    "truncate by descriptor": lambda path: os.ftruncate(opened(path), 0),
    "write": lambda path: os.write(opened(path), b"x"),
    "punch a hole": lambda path: os.posix_fallocate(opened(path), 0, 1 << 20),
    "unlink": os.unlink,
    "rename": lambda path: os.rename(path, path + "x"),
    "change the mode": lambda path: os.chmod(path, 0o666),
    "change the owner": lambda path: os.chown(path, NOBODY, NOBODY),
    "seal": lambda path: fcntl.fcntl(opened(path), F_ADD_SEALS, 0x10),
    "open the lock": lambda path: opened(path + ".lock"),
    "write attributes": lambda path: os.setxattr(path, "user.x", b"1"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_but_reading_is_allowed(path, as_user, attack):
    text = as_user(lambda: ATTACKS[attack](path))
    assert text.startswith(("PermissionError", "OSError: [Errno 9]", "OSError: [Errno 22]")), text


def test_reading_waiting_and_locking_out_nobody(path, prefix, as_user):
    """A lock that a reader takes on the object is nothing to the writer."""

    def read():
        fcntl.flock(opened(path), fcntl.LOCK_EX | fcntl.LOCK_NB)
        s = Stream(prefix, "telemetry")
        assert s.read(after=0, timeout=0.01) is None
        with s.latest() as f:
            return f.array.tolist()

    assert as_user(read) == "[1.0, 2.0]"


def test_the_group_reads_and_others_do_not(prefix, layout, as_user):
    def read():
        return Stream(prefix, "telemetry").read().array.tolist()

    with Writer.create(prefix, layout, mode=0o640, group=READERS) as w:
        w.publish(np.array([1.0, 2.0]), 5)
        assert as_user(read, gid=READERS) == "[1.0, 2.0]"
        assert "Permission denied" in as_user(read)


def test_a_next_writer_tightens_the_mode(prefix, layout):
    Writer.create(prefix, layout, mode=0o644).close()
    with Writer.create(prefix, layout, mode=0o600):
        assert os.stat(f"/dev/shm/{prefix}.telemetry").st_mode & 0o777 == 0o600


def test_streams_of_others_are_not_trusted_unless_named(prefix, layout, as_user):
    assert as_user(lambda: Writer.create(prefix, layout, mode=0o644).close()) == "None"
    with pytest.raises(RingError, match="not trusted"):
        Stream(prefix, "telemetry")
    with pytest.raises(RingError, match="not trusted"):
        open_fd(prefix, "telemetry")
    assert Stream(prefix, "telemetry", owner=NOBODY).head == -1


def test_a_user_has_streams_of_its_own(prefix, as_user):
    def both():
        layout = Layout("telemetry", "f4", (3,), {}, 4)
        with Writer.create(prefix, layout) as w:
            w.publish(np.ones(3), 1)
            return Stream(prefix, "telemetry").read().n

    assert as_user(both) == "0"
