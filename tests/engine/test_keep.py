"""Files that are whole, private, and not believed."""

import os
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from jepad.engine.keep import Keep, Refused

MOST = 10_000


@pytest.fixture
def keep(tmp_path):
    return Keep(str(tmp_path / "state"))


def saved(keep, payload=b"what was learned"):
    keep.save("learned", payload)
    keep.close()
    return Path(keep.path("learned"))


def test_what_is_saved_is_loaded(keep):
    assert keep.load("learned", MOST) is None
    path = saved(keep)
    assert keep.load("learned", MOST) == b"what was learned"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    saved(keep, b"")
    assert keep.load("learned", MOST) == b""
    assert os.listdir(path.parent) == ["learned"]


def test_without_a_directory_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keep = Keep("")
    keep.save("learned", b"x")
    keep.close()
    assert keep.load("learned", MOST) is None
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("cut", [0, 5, 20, -1])
def test_a_file_cut_short_is_refused(keep, cut):
    path = saved(keep)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(Refused):
        keep.load("learned", MOST)


def test_each_flipped_bit_is_noticed(keep):
    path = saved(keep)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(Refused):
            keep.load("learned", MOST)


def test_another_version_is_refused(keep):
    path = saved(keep)
    path.write_bytes(b"jepad state 2 %08x\nx" % zlib.crc32(b"x"))
    with pytest.raises(Refused, match="version"):
        keep.load("learned", MOST)


def test_what_is_too_large_is_not_read(keep):
    saved(keep, bytes(MOST))
    assert keep.load("learned", MOST) == bytes(MOST)
    with pytest.raises(Refused, match="more than it can have"):
        keep.load("learned", MOST - 1)


def test_links_pipes_and_what_others_may_write_are_refused(keep, tmp_path):
    path = saved(keep)
    path.chmod(0o620)
    with pytest.raises(Refused, match="others may write it"):
        keep.load("learned", MOST)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        keep.load("learned", MOST)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Refused, match="not a file of ours"):
        keep.load("learned", MOST)
    path.unlink()
    path.mkdir()
    with pytest.raises(Refused, match="not a file of ours"):
        keep.load("learned", MOST)


def test_a_link_laid_for_the_new_file_is_not_followed(keep, tmp_path):
    path = saved(keep)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.with_name("learned.new").symlink_to(victim)
    saved(keep, b"next")
    assert victim.read_text() == "precious"
    assert keep.load("learned", MOST) == b"next"


def test_a_directory_that_is_none_is_told_once(tmp_path, caplog):
    (tmp_path / "state").write_text("a file")
    keep = Keep(str(tmp_path / "state"))
    for _ in range(3):
        saved(keep)
    assert len([r for r in caplog.records if "can't be written" in r.getMessage()]) == 1
    with pytest.raises(Refused):
        keep.load("learned", MOST)


def test_killed_while_it_writes_the_last_whole_one_stays(tmp_path):
    code = (
        "import sys, os, threading, signal\n"
        "from jepad.engine.keep import Keep\n"
        "keep = Keep(sys.argv[1])\n"
        "keep.save('learned', b'a' * 4000); keep.close()\n"
        "threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGKILL)).start()\n"
        "while True: keep.save('learned', b'b' * 4000); keep.close()\n"
    )
    for _ in range(5):
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
        assert Keep(str(tmp_path)).load("learned", MOST) in (b"a" * 4000, b"b" * 4000)
