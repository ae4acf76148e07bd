"""Consent: kept whole or not at all, by us alone; anything odd allows nothing."""

import os
import stat

import pytest

from jepad.errors import NotFound, SettingError
from jepad.guard import consent
from jepad.guard.consent import Camera, Consent

DOOR = Camera("door", "v4l2:a|b|c", "/dev/video0", options={"fps": 2.0})


def test_nothing_is_allowed_until_somebody_said_so(tmp_path):
    kept = Consent(str(tmp_path))
    assert kept.cameras() == {}
    kept.put(DOOR)
    assert kept.allowed(DOOR.identity) is None
    assert kept.allow("door", True) == Consent(str(tmp_path)).allowed(DOOR.identity)
    assert kept.get("door").options == {"fps": 2.0}
    kept.allow("door", False)
    assert kept.allowed(DOOR.identity) is None


def test_only_that_device_is_allowed(tmp_path):
    kept = Consent(str(tmp_path))
    kept.put(Camera("door", "v4l2:a|b|c", "/dev/video0", allowed=True))
    assert kept.allowed("v4l2:a|b|d") is None


def test_the_file_is_ours_alone_and_nothing_is_left_beside_it(tmp_path):
    kept = Consent(str(tmp_path / "state"))
    before = os.umask(0)
    try:
        kept.put(DOOR)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(kept.path).st_mode) == 0o600
    assert os.listdir(tmp_path / "state") == ["cameras.json"]


def test_a_write_that_fails_leaves_what_was(tmp_path, monkeypatch):
    kept = Consent(str(tmp_path))
    kept.put(DOOR)

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingError, match="No space left"):
        kept.allow("door", True)
    assert kept.cameras() == {"door": DOOR}
    assert os.listdir(tmp_path) == ["cameras.json"]


def test_what_a_dead_process_left_is_no_obstacle(tmp_path):
    kept = Consent(str(tmp_path))
    (tmp_path / f"cameras.json.{os.getpid()}").symlink_to("/etc/passwd")
    kept.put(DOOR)
    assert kept.cameras() == {"door": DOOR}


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"\xff", b'{"version": 2}', b'{"cameras": [{"name": "x"}]}',
        b'{"cameras": [{"name": "../x", "identity": "a", "source": "b"}]}', b"[" * 100_000,
        b'{"cameras": [{"name":"x","identity":"a","source":"b"},'
        b'{"name":"x","identity":"c","source":"d","allowed":true}]}',
    ],
)  # fmt: skip
def test_a_damaged_file_allows_nothing_and_stays(tmp_path, raw):
    (tmp_path / "cameras.json").write_bytes(raw)
    (tmp_path / "cameras.json").chmod(0o600)
    kept = Consent(str(tmp_path))
    for ask in (kept.cameras, lambda: kept.allowed("a"), lambda: kept.put(DOOR)):
        with pytest.raises(SettingError, match=r"cameras\.json"):
            ask()
    assert (tmp_path / "cameras.json").read_bytes() == raw


def test_a_file_that_others_may_write_allows_nothing(tmp_path):
    kept = Consent(str(tmp_path))
    kept.put(DOOR)
    os.chmod(kept.path, 0o620)
    with pytest.raises(SettingError, match="others could have written"):
        kept.cameras()


@pytest.mark.may_skip("only root can give a file away")
@pytest.mark.skipif(os.getuid() != 0, reason="not root")
def test_another_users_file_allows_nothing(tmp_path):
    kept = Consent(str(tmp_path))
    kept.put(DOOR)
    os.chown(kept.path, 12345, 12345)
    with pytest.raises(SettingError, match="others could have written"):
        kept.cameras()


def test_links_pipes_and_directories_allow_nothing(tmp_path):
    kept = Consent(str(tmp_path))
    for make in (
        lambda: os.symlink("/etc/passwd", kept.path),
        lambda: os.mkfifo(kept.path, 0o600),
        lambda: os.mkdir(kept.path, 0o700),
    ):
        make()
        with pytest.raises(SettingError):
            kept.cameras()
        os.rmdir(kept.path) if os.path.isdir(kept.path) else os.unlink(kept.path)


def test_removed_is_forgotten_and_there_is_a_most(tmp_path, monkeypatch):
    kept = Consent(str(tmp_path))
    kept.put(DOOR)
    kept.remove("door")
    for ask in (lambda: kept.get("door"), lambda: kept.remove("door")):
        with pytest.raises(NotFound, match="camera list"):
            ask()
    monkeypatch.setattr(consent, "MAX_CAMERAS", 1)
    kept.put(DOOR)
    with pytest.raises(SettingError, match="the most"):
        kept.put(Camera("other", "x", "y"))
