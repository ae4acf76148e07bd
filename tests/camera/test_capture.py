"""The thread that looks: good films and bad ones, ends, losses and returns."""

import http.server
import os
import random
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from jepad.camera import capture as room
from jepad.camera.container import MOST_PIXELS
from jepad.errors import NotFound
from jepad.records import GAP
from jepad.ring.stream import Stream

from .conftest import until


def test_every_frame_is_accounted_for(film, over):
    view = over(f"file:{film()}")
    assert (view.state, view.reason) == ("ended", "")
    assert view.counts["decoded"] == view.counts["packets"] == 24
    assert view.counts["published"] in (12, 13)
    assert (view.facts.width, view.facts.height, view.facts.rate) == (128, 96, 8)
    assert view.position_s == pytest.approx(23 / 8)


def test_frames_reach_the_ring_in_order_and_then_it_is_retired(film, capture, prefix):
    one = capture(f"file:{film(frames=400)}", fast=False, fps=60)
    stream = until(lambda: opened(prefix, "frames.one"))
    motion = until(lambda: opened(prefix, "motion.one"))
    assert until(lambda: motion.head >= 3)
    got = [stream.read(n) for n in range(4)]
    told = [motion.read(n) for n in range(4)]
    assert [f.source_n for f in got] == [0, 1, 2, 3]
    assert [f.source_n for f in told] == [f.n for f in got]
    assert [f.t_ns for f in told] == [f.t_ns for f in got]
    assert all(f.t_publish_ns >= f.t_ns for f in got)
    steps = np.diff([f.t_ns for f in got]) / 1e9
    assert np.abs(steps - 1 / 8).max() < 0.3  # a film keeps its own time
    assert [round(f.aux[0] / 1e9, 3) for f in got] == [0, 0.125, 0.25, 0.375]
    # The bright bar moves to the right.
    at = [int(f.array[32, :, 0].argmax()) for f in got]
    assert at == sorted(at)
    assert one.stop(10)
    assert stream.state == motion.state == "retired"
    with pytest.raises(NotFound):
        Stream(prefix, "frames.one")


def opened(prefix, name):
    try:
        return Stream(prefix, name)
    except NotFound:
        return None


def test_a_loop_goes_on_and_says_where_it_began(film, capture, prefix):
    one = capture(f"file:{film(frames=8)}", loop=True, fps=8, fast=False)
    stream = until(lambda: opened(prefix, "frames.one"))
    assert until(lambda: stream.head >= 9)
    flags = [stream.read(n).flags for n in range(10)]
    times = [stream.read(n).aux[0] for n in range(10)]
    assert [n for n, flag in enumerate(flags) if flag & GAP] == [8]
    assert times == sorted(times)
    assert one.view.counts["opens"] >= 2


def test_a_loop_of_one_frame_keeps_its_time(film, capture, prefix):
    capture(f"file:{film(frames=1)}", loop=True, fps=8, fast=False)
    stream = until(lambda: opened(prefix, "frames.one"))
    assert until(lambda: stream.head >= 6)
    first, last = stream.read(0), stream.read(6)
    assert last.aux[0] - first.aux[0] == pytest.approx(6 * 125_000_000, abs=10)
    assert last.t_ns - first.t_ns > 5 * 125_000_000


def test_a_fault_of_ours_is_told(film, over, monkeypatch):
    def fails(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(room.Reel, "play", fails)
    view = over(f"file:{film()}")
    assert view.state == "failed"
    assert "ZeroDivisionError" in view.reason


def test_one_frame(film, over):
    view = over(f"file:{film(frames=1)}")
    assert (view.state, view.counts["published"]) == ("ended", 1)


def test_ten_thousand_frames_a_second(film, over):
    view = over(f"file:{film(frames=600, size=(64, 64), rate=10000)}", fast=False)
    assert view.state == "ended"
    assert view.counts["published"] >= 1
    assert view.counts["decoded"] + view.counts["packets"] >= 600


@pytest.mark.parametrize(("name", "size"), [("a.mkv", (64, 16384)), ("b.mp4", (64, 1024))])
def test_what_has_no_square_in_it(film, over, name, size):
    codec = "ffv1" if name.endswith("mkv") else "mpeg4"
    view = over(f"file:{film(name, 2, size, codec=codec)}")
    assert view.state == "failed"
    assert "too narrow" in view.reason
    assert view.counts["unfit"] == view.counts["decoded"] == 2


def test_frames_that_are_too_large(film, over, monkeypatch):
    assert MOST_PIXELS < 16384 * 4096
    monkeypatch.setattr("jepad.camera.reel.MOST_PIXELS", 64 * 64)
    monkeypatch.setattr("jepad.camera.container.MOST_PIXELS", 64 * 64)
    view = over(f"file:{film()}")
    assert view.state == "failed"
    assert "128×96 are too large" in view.reason
    assert view.counts["published"] == 0


def test_the_resolution_may_change(film, over, tmp_path):
    small, large = (
        film("a.ts", 16, codec="mpeg2video"),
        film("b.ts", 16, (192, 256), 8, "mpeg2video"),
    )
    both = tmp_path / "both.ts"
    both.write_bytes(Path(small).read_bytes() + Path(large).read_bytes())
    view = over(f"file:{both}")
    assert view.state == "ended"
    assert (view.facts.width, view.facts.height) == (256, 192)
    assert view.counts["published"] >= 14


@pytest.mark.parametrize("name", ["film.mkv", "film.ts"])
def test_a_truncated_film_is_shown_as_far_as_it_goes(film, over, name):
    codec = "mpeg2video" if name.endswith("ts") else "mpeg4"
    path = film(name, 80, codec=codec)
    os.truncate(path, os.path.getsize(path) // 3)
    view = over(f"file:{path}")
    assert view.state == "ended"
    assert 0 < view.counts["decoded"] < 60
    assert "truncated" in view.reason or name == "film.ts"  # which says nowhere how long it is


def test_a_film_without_its_index(film, over):
    path = film()
    os.truncate(path, os.path.getsize(path) // 2)
    view = over(f"file:{path}")
    assert (view.state, view.counts["decoded"]) == ("failed", 0)
    assert view.reason


@pytest.mark.parametrize(
    "content", [b"\0" * 4000, b"x", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"]
)
def test_what_is_no_film(over, tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    view = over(f"file:{tmp_path}/x")
    assert view.state == "failed"
    assert view.reason


def test_a_list_of_films_opens_none_of_them(film, over, tmp_path):
    (tmp_path / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile {film()}\n")
    view = over(f"file:{tmp_path}/list.ffconcat")
    assert (view.state, view.counts["decoded"]) == ("failed", 0)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.avi"])
def test_damage_is_counted_and_survived(film, over, name, tmp_path):
    good = Path(film(name, 16)).read_bytes()
    chance = random.Random(7)
    path = tmp_path / f"bad-{name}"
    for _ in range(12):
        bad = bytearray(good)
        for _ in range(chance.randrange(1, 60)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        path.write_bytes(bad)
        view = over(f"file:{path}")
        assert view.state in ("ended", "failed")
        assert "fault of jepad" not in view.reason


def test_a_graph_ends_like_a_film(over):
    view = over("lavfi:testsrc2=duration=1:rate=8:size=160x120")
    assert (view.state, view.counts["decoded"]) == ("ended", 8)
    assert over("lavfi:nosuchthing").state == "failed"


def test_no_room_for_the_ring_is_said(film, over):
    view = over(f"file:{film()}", group="no-such-group")
    assert view.state == "failed"
    assert "no group" in view.reason


class Server:
    """HTTP that serves one film, or nothing, or breaks off."""

    def __init__(self, content):
        self.content, self.there = content, True
        outer = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if not outer.there:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.end_headers()  # without a length, as a camera: it ends when it ends
                self.wfile.write(outer.content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://u:secret@127.0.0.1:{self.server.server_port}/live"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server(film):
    made = Server(Path(film("film.ts", 40, codec="mpeg2video")).read_bytes())
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_stream_of_the_network_is_lost_and_found(server, capture, prefix, monkeypatch):
    monkeypatch.setattr(room, "FIRST_DELAY_S", 0.05)
    monkeypatch.setattr(room, "LAST_DELAY_S", 0.1)
    server.there = False
    one = capture(server.url)
    assert until(lambda: one.view.counts["failures"] >= 2)
    assert one.view.state == "waiting"
    assert "404" in one.view.reason
    assert "secret" not in one.view.reason
    assert opened(prefix, "frames.one") is None
    server.there = True
    assert until(lambda: one.view.counts["opens"] >= 2)
    stream = opened(prefix, "frames.one")
    assert stream is not None  # a short loss is none for readers
    assert until(lambda: any(f.flags & GAP for f in stream_records(stream)))
    server.there = False
    monkeypatch.setattr(room, "GRACE_S", 0.0)
    assert until(lambda: stream.state == "retired")


def stream_records(stream):
    return [stream.read(n) for n in range(max(stream.head - 8, 0), stream.head + 1)]


def test_a_device_that_is_not_there_is_waited_for(capture, prefix, monkeypatch):
    monkeypatch.setattr(room, "FIRST_DELAY_S", 0.02)
    one = capture("/dev/video999")
    assert until(lambda: one.view.counts["failures"] >= 3)
    assert one.view.state == "waiting"
    assert "No such file" in one.view.reason


def test_a_pulled_device_retires_its_streams_at_once_and_comes_back(capture, prefix, monkeypatch):
    monkeypatch.setattr(room, "FIRST_DELAY_S", 0.02)
    plugged = threading.Event()
    plugged.set()
    real = room.Container

    class Device(real):
        """A test picture in place of a device; pulled, it breaks off in mid-frame."""

        def __init__(self, source, _file):
            if not plugged.is_set():
                raise room.Lost("No such device")
            super().__init__(source, -1)

        def packages(self):
            for packet in super().packages():
                if not plugged.is_set():
                    raise room.Lost("No such device")
                yield packet

    monkeypatch.setattr(room, "Container", Device)
    monkeypatch.setattr(
        "jepad.camera.container._opened",
        lambda *_: av.open("testsrc2=rate=10:size=64x64", format="lavfi"),
    )
    one = capture("/dev/video0")
    stream = until(lambda: opened(prefix, "frames.one"))
    assert until(lambda: stream.head > 3)
    plugged.clear()
    assert until(lambda: stream.state == "retired")
    assert until(lambda: one.view.state == "waiting")
    assert one.view.reason == "No such device"
    plugged.set()
    again = until(lambda: opened(prefix, "frames.one"))
    assert again.header.generation != stream.header.generation
    assert until(lambda: again.head >= 0)
    assert again.read(0).flags & GAP
    assert one.stuck_s >= 0
    counts = one.view.counts
    assert one.stop(10)
    assert counts["decoded"] == counts["published"] + counts["dropped"]
