"""PyAV at arm's length."""

import os

import av
import pytest

from jepad.camera import container as room
from jepad.camera.container import Container, Lost, reason, unusable
from jepad.camera.source import opened, source


@pytest.fixture
def container(film):
    given = source(f"file:{film()}")
    file = opened(given.url)
    one = Container(given, file)
    yield one
    one.close()
    os.close(file)


def test_facts(container):
    facts = container.facts()
    assert facts[:5] == (128, 96, 8.0, "mpeg4", 3.0)
    assert (facts.timed, facts.expected, facts.expected_s) == (True, 24, 3.0)


def test_packets_and_frames(container):
    frames = [f for packet in container.packages() for f in container.frames(packet)]
    assert (len(frames), container.packets, container.damaged) == (24, 24, 0)


def test_damage_without_end_is_no_video(container, monkeypatch):
    class Packet:
        size = 1

        def decode(self):
            raise av.error.InvalidDataError(1, "bad data")

    monkeypatch.setattr(room, "HOPELESS", 3)
    for _ in range(3):
        assert container.frames(Packet()) == []
    with pytest.raises(Lost, match="4 packets in a row"):
        container.frames(Packet())
    assert container.damaged == 4


def test_sound_alone_is_no_video(tmp_path):
    path = str(tmp_path / "a.wav")
    with av.open(path, "w") as made:
        stream = made.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame(layout="mono", samples=800)
        frame.rate = 8000
        made.mux(stream.encode(frame))
    given = source(f"file:{path}")
    file = opened(path)
    with pytest.raises(Lost, match="no video"):
        Container(given, file)
    os.close(file)


def test_options_are_tried_until_one_is_taken(monkeypatch):
    asked = []

    def refuse(url, mode, **how):
        asked.append(how["options"])
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(Lost, match="Invalid argument"):
        Container(source("/dev/video0", 10))
    assert asked == [{"video_size": "640x480", "framerate": "10"}, {"video_size": "640x480"}, {}]


@pytest.mark.parametrize(
    ("size", "why"),
    [((1280, 720), ""), ((7680, 4320), ""), ((1, 1), ""), ((16384, 4096), "large"),
     ((16384, 64), "narrow"), ((64, 1024), "narrow"), ((0, 5), "narrow")],
)  # fmt: skip
def test_sizes(size, why):
    assert why in unusable(*size)
    assert bool(why) == bool(unusable(*size))


def test_words_hold_no_password():
    error = OSError(5, "rtsp://me:secret@cam/1: Input/output error")
    assert "secret" not in reason(error)
    assert "within" in reason(av.error.ExitError(1, "Immediate exit requested"))
    assert reason(ValueError("")) == "ValueError"
    assert "streams changed" in reason(IndexError("list index out of range"))
