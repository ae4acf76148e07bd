"""A real camera process: what it answers, how it ends, and that it goes on."""

import asyncio
import os
import shutil
import signal
import stat

import pytest

from jepad.camera import wire
from jepad.camera.server import Server
from jepad.errors import EngineError, NotFound
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer
from jepad.worker.link import Link

from .conftest import PATIENCE_S, until


def test_frames_of_another_process_are_read_here(process, film, prefix):
    one = process(source=f"file:{film(frames=400)}", fps=8)
    said = one.seen("running", wanted=lambda seen: seen.counts["published"] >= 3)
    assert (said.name, said.kind, said.size, said.learned) == ("one", "file", 64, False)
    assert (said.width, said.height, said.rate, said.codec) == (128, 96, 8, "mpeg4")
    assert said.length_s == pytest.approx(50)
    assert 0 < said.position_s < 50
    assert "limits" in said.barriers
    assert set(said.counts) == set(wire.COUNTS)
    with Stream(prefix, "frames.one") as frames, Stream(prefix, "motion.one") as motion:
        assert frames.header.shape == (64, 64, 3)
        got = frames.read(after=frames.head, timeout=PATIENCE_S)
        assert motion.wait(got.n, PATIENCE_S)
        assert motion.read(got.n).source_n == got.n
        assert one.end() == (0, "")
        assert frames.state == motion.state == "retired"
    assert sorted(os.listdir(one.runtime)) == ["camera-one.json", "camera-one.lock"]
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(f"{prefix}.")]


def test_a_film_that_is_over_leaves_a_process_to_be_asked(process, film, prefix):
    one = process(source=f"file:{film()}", fast=True)
    said = one.seen("ended")
    assert said.reason == ""
    assert said.counts["decoded"] == said.counts["published"] + said.counts["dropped"] == 24
    with pytest.raises(NotFound):
        Stream(prefix, "frames.one")
    assert one.ask(wire.Ping).state == "ended"
    one.ask(wire.Stop)
    assert one.child.wait(PATIENCE_S) == 0


def test_bad_films_are_told(process, film, tmp_path):
    (tmp_path / "bad").write_bytes(b"\0" * 5000)
    for name, (spec, why) in {
        "none": ("file:/no/such", "No such file"),
        "bad": (f"file:{tmp_path}/bad", ""),
        "dir": (f"file:{tmp_path}", "regular file"),
    }.items():
        said = process(name, source=spec).seen("failed")
        assert why in said.reason
        assert said.reason


def test_filters_and_zones_come_before_the_ring(process, film, prefix):
    zone = [[0, 0], [1, 0.5]]
    one = process(source=f"file:{film(frames=400)}", fps=8, filters=["zones"], zones=[zone])
    said = one.seen("running", wanted=lambda seen: seen.counts["published"] >= 2)
    assert said.filters
    assert said.filter_state == ""
    with Stream(prefix, "frames.one") as frames:
        got = frames.read()
        assert (got.array[:30] == got.array[0, 0]).all()
        assert (got.array[34:] != got.array[0, 0]).any()


def test_a_missing_face_model_pixelates_all_and_says_so(process, film, prefix):
    one = process(
        source=f"file:{film(frames=400)}", fps=8, filters=["faces"], faces_model="/no/such.onnx"
    )
    said = one.seen("running", wanted=lambda seen: seen.counts["published"] >= 2)
    assert said.filter_state
    with Stream(prefix, "frames.one") as frames:
        cells = frames.read().array.reshape(8, 8, 8, 8, 3)
        assert (cells == cells[:, :1, :, :1]).all()


@pytest.mark.parametrize(
    "settings",
    [{}, {"source": "nonsense"}, {"source": "file:/a", "size": 7}, {"source": "udp://x:1"}],
)
def test_a_setting_that_cannot_be_used_is_exit_code_two(process, settings):
    one = process(**settings)
    assert one.child.wait(PATIENCE_S) == 2
    assert "jepad-camera: " in one.child.stderr.read()


def test_the_socket_is_its_owners_alone_and_nonsense_is_refused(process):
    one = process(source="lavfi:testsrc2=rate=5:size=64x64")
    one.seen("running")
    assert stat.S_IMODE(os.stat(f"{one.runtime}/camera-one.sock").st_mode) == 0o600

    async def run():
        link = Link(f"ipc://{one.runtime}/camera-one.sock", wire.TONGUE)
        try:
            # Another worker's word: refused to nobody, and the next one is answered.
            with pytest.raises(EngineError):
                await link.ask(wire.Seen, lambda number, by: wire.Pong(number, "ended"), 1)
            return (await link.ask(wire.Pong, wire.Ping, PATIENCE_S)).reply
        finally:
            await link.close()

    assert asyncio.run(run()).state == "running"


def test_what_a_killed_one_left_is_gone_before_the_next_looks(process, film, prefix):
    one = process(source=f"file:{film(frames=400)}", fps=8)
    one.seen("running")
    old = Stream(prefix, "frames.one")
    os.kill(one.child.pid, signal.SIGKILL)
    one.child.wait()
    process(source="/dev/video999").seen("waiting")
    assert until(lambda: old.state == "retired")
    with pytest.raises(NotFound):
        Stream(prefix, "frames.one")


class Hung:
    """A capture that hangs from the second look on."""

    looks, stopped = 0, False

    @property
    def stuck_s(self):
        self.looks += 1
        return 31.0 if self.looks > 1 else 0.0

    def stop(self):
        self.stopped = True


class Camera:
    """As much of one as the loop needs."""

    name = "one"

    def __init__(self):
        self.capture, self.streams = Hung(), self
        self.beats, self.sweeps = 0, []
        self.sweep = self.sweeps.append

    def beat(self):
        self.beats += 1


def test_readers_hear_of_us_what_is_old_is_swept_and_a_decoder_that_hangs_ends_us(prefix):
    camera = Camera()
    runtime = f"/tmp/{prefix}"
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(EngineError, match="decoder hangs"):
            Server(runtime, camera).run()
    finally:
        for number, was in before.items():
            signal.signal(number, was)
        shutil.rmtree(runtime)
    assert camera.capture.stopped
    assert camera.beats == len(camera.sweeps) == 1


def test_another_writer_of_the_stream_is_told(process, film, prefix):
    layout = Layout("frames.one", "u1", (2, 2), {}, 4)
    with Writer.create(prefix, layout):
        said = process(source=f"file:{film()}", fast=True).seen("failed")
    assert said.reason
