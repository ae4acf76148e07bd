"""Who has a stream open, of this machine and of a forged /proc."""

import os
import subprocess
import sys

import numpy as np
import pytest

from jepad.camera.readers import Reader, readers
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer

MAPS = "7f00-7f01 {mode} 00000000 {major:02x}:{minor:02x} {inode}    {path}\n"


@pytest.fixture
def proc(tmp_path):
    """Adds a process: its maps, where its descriptors lead, its name."""

    def add(pid, maps="", links=(), program="sh", flags=0):
        home = tmp_path / str(pid)
        (home / "fd").mkdir(parents=True)
        (home / "maps").write_text(maps)
        (home / "comm").write_text(f"{program}\n")
        (home / "stat").write_text(f"{pid} (a) b) S 1 1 1 0 -1 {flags} 0 0\n")
        for number, target in enumerate(links):
            (home / "fd" / str(number)).symlink_to(target)
        return home

    add.root = str(tmp_path)
    (tmp_path / "self").mkdir()
    return add


def test_this_process_reads_and_writes_its_own_streams(prefix):
    layout = Layout("frames.a", "u1", (4,), {}, 4)
    with Writer.create(prefix, layout), Stream(prefix, "frames.a"):
        found = readers(prefix, ["frames.a", "frames.b"]).found
    assert [(r.stream, r.pid, r.uid, r.writes) for r in found] == [
        ("frames.a", os.getpid(), os.getuid(), True)
    ]


def test_a_reader_in_another_process_is_seen_until_it_lets_go(prefix):
    code = (
        "import sys; from jepad.ring.stream import Stream\n"
        f"s = Stream({prefix!r}, 'frames.a'); print('open', flush=True); sys.stdin.read()"
    )
    with Writer.create(prefix, Layout("frames.a", "u1", (4,), {}, 4)) as w:
        w.publish(np.zeros(4, np.uint8), 1)
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            child.stdout.readline()
            found = {r.pid: r.writes for r in readers(prefix, ["frames.a"]).found}
            assert found == {os.getpid(): True, child.pid: False}
            child.stdin.close()
            child.wait(60)
        assert [r.pid for r in readers(prefix, ["frames.a"]).found] == [os.getpid()]


def test_mappings_are_known_by_path_also_of_a_retired_stream(proc):
    line = MAPS.format(mode="r--s", major=0, minor=1, inode=7, path="/dev/shm/x.frames.a{}")
    proc(10, line.format(""), program="py thon")
    proc(11, line.format(" (deleted)"))
    proc(12, MAPS.format(mode="r--p", major=0, minor=1, inode=7, path="/dev/shm/x.frames.ab"))
    proc(13, "7f00-7f01 r--p 00000000 00:00 0\nnonsense\n")
    uid = os.getuid()
    assert readers("x", ["frames.a"], proc.root).found == (
        Reader("frames.a", 10, uid, "py thon", False),
        Reader("frames.a", 11, uid, "sh", False),
    )


def test_a_container_that_sees_another_path_is_found_by_the_file(proc, tmp_path):
    prefix = f"{tmp_path}/x"
    file = tmp_path / "x.frames.a"
    file.write_bytes(b"frames")
    st = file.stat()
    where = {"major": os.major(st.st_dev), "minor": os.minor(st.st_dev), "inode": st.st_ino}
    proc(10, MAPS.format(mode="rw-s", path="/elsewhere/x.frames.a", **where))
    other = tmp_path / "else"
    other.mkdir()
    os.link(file, other / "x.frames.a")
    proc(11, links=[other / "x.frames.a"])
    found = readers(prefix, ["frames.a"], proc.root).found
    assert [(r.pid, r.writes) for r in found] == [(10, True), (11, False)]


def test_a_descriptor_without_a_mapping_counts(proc):
    proc(10, links=["/dev/null", "socket:[1]", "/dev/shm/x.frames.a"])
    assert [r.pid for r in readers("x", ["frames.a"], proc.root).found] == [10]


def test_a_process_that_ends_meanwhile_is_no_error(proc):
    home = proc(10, "")
    (home / "maps").unlink()
    assert readers("x", ["frames.a"], proc.root).found == ()


def test_who_may_not_be_looked_into_is_counted_without_the_kernels_threads(proc, monkeypatch):
    proc(10)
    proc(11, flags=0x00208040)
    proc(12)

    def refused(_path):
        raise PermissionError

    monkeypatch.setattr(os, "scandir", refused)
    assert readers("x", ["frames.a"], proc.root).unseen == 2


def test_a_program_can_not_write_to_the_terminal_by_its_name(proc):
    line = MAPS.format(mode="r--s", major=0, minor=1, inode=7, path="/dev/shm/x.frames.a")
    proc(10, line, program="\x1b[2Jevil")
    assert readers("x", ["frames.a"], proc.root).found[0].program == "?[2Jevil"
