"""From words to sources."""

import os

import pytest

from jepad.camera import source
from jepad.errors import SettingError


@pytest.mark.parametrize(
    ("spec", "kind", "own_time", "networked"),
    [
        ("file:/a/b.mp4", "file", True, False),
        ("/dev/video0", "v4l2", False, False),
        ("/dev/v4l/by-id/usb-046d_HD_Webcam-video-index0", "v4l2", False, False),
        ("rtsp://cam/1", "rtsp", False, True),
        ("RTSPS://cam:322/1", "rtsp", False, True),
        ("https://cam/x.mjpg", "http", False, True),
        ("lavfi:testsrc2=rate=5", "lavfi", True, False),
    ],
)
def test_kinds(spec, kind, own_time, networked):
    made = source.source(spec)
    assert (made.kind, made.own_time, made.networked) == (kind, own_time, networked)


@pytest.mark.parametrize(
    "spec",
    ["", "file:", "lavfi:", "/etc/passwd", "/dev/sda", "/dev/video0/../sda", "/dev/v4l/by-id/../x",
     "concat:a|b", "subfile:x", "ftp://a/b", "rtsp://", "http://[", "rtsp://a:b:c/", "a\0b",
     "udp://@:1234", "-f"],
)  # fmt: skip
def test_all_else_is_refused(spec):
    with pytest.raises(SettingError):
        source.source(spec)


def test_passwords_are_not_shown():
    made = source.source("rtsp://admin:secret@cam:554/1?token=abc")
    assert made.shown == "rtsp://cam:554/1"
    assert "secret" in made.url
    assert source.hidden("rtsp://admin:secret@cam failed") == "rtsp://cam failed"
    with pytest.raises(SettingError) as raised:
        source.source("gopher://admin:secret@cam")
    assert "secret" not in str(raised.value)


def test_a_camera_is_asked_for_little_first():
    options = source.source("/dev/video3", 2).options
    assert options[0] == {"video_size": "640x480", "framerate": "5"}
    assert options[-1] == {}


def test_a_film_may_name_no_other_file():
    assert source.source("file:/a").options == ({"protocol_whitelist": "fd"},)
    assert "file" not in source.source("http://a/x.m3u8").options[0]["protocol_whitelist"]


def test_only_regular_files_are_opened(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "film").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("empty", "empty"), ("pipe", "regular"), (".", "regular"), ("no", "No such")):
        with pytest.raises(SettingError, match=why):
            source.opened(str(tmp_path / name))
    os.close(source.opened(str(tmp_path / "film")))
