"""Frames of files: times, stills, and every way a file can be bad."""

import contextlib
import os
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from jepad.errors import NotFound, NotReady, SettingError
from jepad.vision import decode
from jepad.vision.decode import Reel, Wanted, frames, picture
from tests.vision.films import film, sound, still


@pytest.fixture
def clip(tmp_path):
    return film(tmp_path / "clip.mp4")


def numbers(found):
    """Which frames they are, by their brightness."""
    return [round((float(f.pixels.mean()) - 10) / 18) for f in found]


@pytest.mark.parametrize("end", ["mp4", "avi", "mkv"])
def test_all_frames_in_order_with_their_times(tmp_path, end):
    with Reel(film(tmp_path / f"clip.{end}")) as reel:
        found = list(reel)
    assert numbers(found) == list(range(12))
    assert [f.time_s for f in found] == pytest.approx([n / 8 for n in range(12)], abs=2e-3)
    about = reel.about
    assert (about.width, about.height, about.still, about.expected) == (64, 48, False, 12)
    assert about.rate == pytest.approx(8, rel=0.01)
    assert found[0].pixels.shape == (48, 64, 3)


def test_frames_are_taken_in_time_not_in_number(clip):
    wanted = Wanted(every_s=0.25, start_s=0.2, count=4)
    with Reel(clip, wanted) as reel:
        assert numbers(reel) == [2, 4, 6, 8]
        assert reel.about.expected == 4
    assert numbers(frames(clip, Wanted(every_s=0.3))) == [0, 3, 5, 8, 10]


def test_the_decoder_makes_frames_small(clip):
    with Reel(clip, Wanted(short=24)) as reel:
        assert {f.pixels.shape for f in reel} == {(24, 32, 3)}
        assert (reel.about.width, reel.about.height) == (32, 24)
    with Reel(clip, Wanted(short=480)) as reel:
        assert reel.about.height == 48  # never larger


def test_whoever_has_enough_may_leave(clip):
    with Reel(clip) as reel:
        next(iter(reel))
    assert reel._child.returncode is not None


@pytest.mark.parametrize("end", ["png", "jpg", "webp", "bmp", "gif", "tif", "ppm"])
def test_a_still_is_one_frame(tmp_path, end):
    pixels = picture(still(tmp_path / f"still.{end}"))
    assert pixels.shape == (20, 30, 3)
    assert pixels[10, 3, 0] > 200 > 50 > pixels[10, 27, 0]
    assert len(list(frames(str(tmp_path / f"still.{end}")))) == 1


def test_a_picture_taken_upright_is_upright(tmp_path):
    pixels = picture(still(tmp_path / "turned.jpg", turned=True))
    assert pixels.shape == (30, 20, 3)
    assert pixels[3, 10, 0] > 200


def test_the_first_frame_of_a_film_is_a_picture(tmp_path):
    assert picture(film(tmp_path / "one.mp4", frames=1)).shape == (48, 64, 3)


def cut(path, share, to):
    content = Path(path).read_bytes()
    to.write_bytes(content[: int(len(content) * share)])
    return str(to)


def bad(kind, tmp_path):
    path = tmp_path / f"bad-{kind}"
    if kind == "absent":
        return str(path)
    if kind in ("avi", "mp4"):
        share = {"avi": 0.8, "mp4": 0.5}[kind]  # an AVI has its list of frames at the beginning
        return cut(film(tmp_path / f"whole.{kind}", frames=200), share, path)
    if kind == "picture":
        return cut(still(tmp_path / "whole.png", (300, 300)), 0.5, path)
    if kind == "playlist":
        other = film(tmp_path / "other.mp4")
        path.write_text(f"ffconcat version 1.0\nfile {other}\n")
        return str(path)
    if kind == "sound":
        return sound(tmp_path / "sound.wav")
    content = {"empty": b"", "noise": np.random.default_rng(0).bytes(50_000)}[kind]
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("absent", "No such file"), ("empty", "is empty"), ("noise", "no video or picture"),
     ("avi", "truncated"), ("mp4", "no video or picture"), ("picture", "truncated or corrupt"),
     ("playlist", "no video or picture"), ("sound", "no video in it")],
)  # fmt: skip
def test_a_bad_file_is_a_named_error(tmp_path, kind, said):
    path = bad(kind, tmp_path)
    with pytest.raises((SettingError, NotFound), match=f"^{path}: .*{said}"):
        list(frames(path))


def test_a_pipe_and_a_directory_are_no_videos(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(SettingError, match="no regular file"):
            picture(str(path))
    with pytest.raises(NotFound, match="null"):
        picture("a\0b")


def test_corrupt_bytes_end_in_words_not_in_a_crash(tmp_path):
    content = bytearray(Path(film(tmp_path / "clip.avi", frames=40)).read_bytes())
    rng = np.random.default_rng(3)
    for _ in range(4):
        for at in rng.integers(0, len(content), len(content) // 20):
            content[at] = rng.integers(256)
        path = tmp_path / "corrupt.avi"
        path.write_bytes(content)
        with contextlib.suppress(SettingError):  # what can be read may be
            list(frames(str(path)))


CONFINED = """
import os, resource, socket
from jepad.vision.decoder import _confine
_confine(0)
for name in ("AS", "CPU", "FSIZE", "NOFILE", "CORE", "NPROC"):
    print(name, resource.getrlimit(getattr(resource, "RLIMIT_" + name))[1])
for act in (lambda: os.open("/dev/null", 0), socket.socket, os.pipe):
    try:
        act()
        print("could")
    except OSError as error:
        print(error.errno)
"""


def test_the_child_can_open_nothing():
    done = subprocess.run(
        [sys.executable, "-c", CONFINED], capture_output=True, text=True, check=True, timeout=60
    )
    lines = done.stdout.split()
    limits = dict(zip(lines[:12:2], lines[1:12:2], strict=True))
    assert limits["NOFILE"] == limits["FSIZE"] == limits["CORE"] == limits["NPROC"] == "0"
    assert 0 < int(limits["AS"]) <= 4 << 30
    assert lines[12:] == ["24", "24", "24"]  # EMFILE


#: A decoder that lies; what it prints is what a captured one could send.
LIES = {
    "size": 'm("A", facts(1 << 20, 1 << 20))',
    "negative": 'm("A", facts(-4, 4))',
    "words": 'm("A", b"{}")',
    "order": 'm("F", b"x" * 20)',
    "flood": 'w(b"A" + (1 << 31).to_bytes(4, "little"))',
    "short": 'm("A", facts(4, 4)); m("F", b"x" * 10)',
    "silence": "pass",
    "crash": "os.abort()",
}


@pytest.mark.parametrize("kind", LIES)
def test_a_decoder_that_lies_is_not_believed(tmp_path, clip, monkeypatch, kind):
    liar = tmp_path / "jepad/vision/decoder.py"
    liar.parent.mkdir(parents=True)
    liar.write_text(f"""
import json, os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
def w(data):
    os.write(1, data)
def m(kind, data):
    w(kind.encode() + len(data).to_bytes(4, "little") + data)
def facts(width, height):
    return json.dumps(dict(format="x", codec="x", width=width, height=height, rate=1.0,
                           expected=1, still=False)).encode()
{LIES[kind]}
""")
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {liar} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    tracemalloc.start()
    with pytest.raises(SettingError, match=r"decoder|frames"):
        list(frames(clip))
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


def test_where_pyav_is_missing_the_words_say_so(tmp_path, clip, monkeypatch):
    (tmp_path / "av.py").write_text("raise ModuleNotFoundError('no', name='av')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(NotReady, match="jepad\\[video\\]"):
        picture(clip)


def test_a_child_that_says_nothing_is_not_waited_for(tmp_path, clip, monkeypatch):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(decode, "PATIENCE_S", 0.05)
    with pytest.raises(SettingError, match="no frame within"):
        picture(clip)


def test_no_descriptor_is_left_open(tmp_path, clip):
    before = len(os.listdir("/proc/self/fd"))
    list(frames(clip))
    with pytest.raises(SettingError):
        picture(bad("noise", tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 0
