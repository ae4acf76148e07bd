"""Sources as a person writes them; a password is never shown."""

import pytest

from jepad.errors import SettingError
from jepad.guard import feeds


@pytest.mark.parametrize(
    ("spec", "kind", "slug", "harmless"),
    [
        ("file:/films/one by one.mp4", "file", "one by one", True),
        ("file:/films/noend", "file", "noend", True),
        ("lavfi:testsrc=size=64x64", "made", "testsrc", True),
        ("/dev/video12", "device", "video12", False),
        ("rtsp://u:p@cam.lan:554/live?x=1", "url", "cam.lan", False),
        ("https://[fe80::1]/a", "url", "fe80::1", False),
    ],
)
def test_kinds(spec, kind, slug, harmless):
    found = feeds.feed(spec)
    assert (found.kind, found.slug, found.harmless) == (kind, slug, harmless)
    assert found.source == spec


@pytest.mark.parametrize(
    "spec",
    [
        "", "file:", "file:a.mp4", "file:../a", "file:/a/../b", "file:/a/", "file:/a\n", "lavfi:",
        "/dev/video", "/dev/video0/..", "/dev/sda", "rtsp://", "http:///x", "ftp://x/y", "udp://x",
        "http://x y/", "http://[::1", "http://a:99999/", "concat:/a|/b", "video0", "x" * 3000,
    ],
)  # fmt: skip
def test_refused(spec):
    with pytest.raises(SettingError):
        feeds.feed(spec)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://u:secret@cam/live", "rtsp://u:***@cam/live"),
        ("rtsp://secret@cam/live", "rtsp://***@cam/live"),
        ("http://cam/live?user=u&pwd=secret", "http://cam/live?***"),
        ("http://u:p?secret@cam/live", "http://u:p?***"),
        ("http://cam:80/a@b", "http://cam:80/a@b"),
        ("http://u:se@cret@cam/live", "http://u:***@cam/live"),
        ("http://u:s/e@cam/live", "http://u:***@cam/live"),
        ("http://cam/live", "http://cam/live"),
        ("file:/a@b", "file:/a@b"),
    ],
)
def test_no_password_is_shown(source, shown):
    assert feeds.shown(source) == shown


def test_an_error_shows_no_password():
    with pytest.raises(SettingError) as caught:
        feeds.feed("http://u:secret@cam:99999/")
    assert "secret" not in str(caught.value)


def test_names():
    assert feeds.name("front_door2") == "front_door2"
    for bad in ("", "A", "a-b", "_a", "a.b", "a" * 32, "../a"):
        with pytest.raises(SettingError):
            feeds.name(bad)
    assert feeds.free_name("HD Webcam C270", ()) == "hd_webcam_c270"
    assert feeds.free_name("HD Webcam", {"hd_webcam", "hd_webcam_2"}) == "hd_webcam_3"
    assert feeds.free_name("日本", ()) == "camera"
    assert feeds.NAME.fullmatch(feeds.free_name("x" * 100, {"x" * 24}))
