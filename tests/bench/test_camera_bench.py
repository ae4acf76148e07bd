"""The parts of the bench of a camera on small films: what is compared, not how long it took."""

import asyncio
import os
from dataclasses import replace

import pytest

from bench import camera, camera_live, clips
from bench.report import Report
from bench.scene_streams import installed
from jepad.camera.settings import CameraSettings
from jepad.errors import EngineError


@pytest.fixture
def film(tmp_path, monkeypatch):
    monkeypatch.setattr(camera, "WIDE", 160)
    monkeypatch.setattr(camera, "HIGH", 96)
    return camera.made(str(tmp_path / "film.mp4"), "testsrc2", 12)


def test_films_are_made_as_asked(film, tmp_path):
    frames = list(camera.decoded(film))
    assert len(frames) == 12
    assert (frames[0].width, frames[0].height) == (160, 96)
    slow = camera_live.slowed(film, str(tmp_path / "slow.mp4"))
    assert [float(f.time) for f in camera.decoded(slow)] == [n / 8 for n in range(12)]


def test_decoding_is_compared_with_what_follows(film):
    report = Report()
    table = camera._decoding(film, 2, report)
    (goal,) = report.goals
    assert (goal.sense, goal.limit) == ("<=", 1.7)
    assert goal.value > 0
    assert table.rows[0][0] == "decode"
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_standing_view_is_hardly_encoded(film, tmp_path, monkeypatch):
    tiny = replace(clips.SMALL, width=48, depth=1, heads=2, hidden=96, size=64, frames=4)
    monkeypatch.setattr(clips, "SMALL", tiny)
    (tmp_path / "model").mkdir()
    model = installed(str(tmp_path / "model"), tiny)
    still = camera.made(str(tmp_path / "still.mp4"), "smptehdbars", 16, 4)
    got = camera.gated(still, model, 4)
    assert (got.frames, got.opened) == (16, 1)
    assert got.always > 0
    assert sum(got.shares.values()) == pytest.approx(got.gated)
    moving = camera.gated(film, model, 25)
    assert moving.opened == moving.frames == 12


def test_real_footage_is_found_where_it_is(tmp_path):
    assert camera.found(None) is None
    assert camera.found(str(tmp_path)) is None
    (tmp_path / "bigbuckbunny.mp4").touch()
    assert camera.found(str(tmp_path)) == str(tmp_path / "bigbuckbunny.mp4")


def test_what_can_not_be_measured_says_why(film, tmp_path, monkeypatch):
    async def failing(*_):
        raise EngineError("no such luck")

    for name in ("ingest", "share", "latency"):
        monkeypatch.setattr(camera_live, name, failing)
    model = type("Model", (), {"directory": ""})()
    report = camera_live.measured(model, film, str(tmp_path / "slow.mp4"), True)
    assert [goal.met for goal in report.goals] == [None] * 3
    assert all("no such luck" in goal.note for goal in report.goals)


def test_a_real_process_is_counted(film):
    async def counted(where):
        settings = CameraSettings(source=f"file:{film}", fps=60, fast=True, loop=True)
        async with camera_live.camera(where, settings) as child:
            before = await camera_live._spent(child)
            while (after := await camera_live._spent(child)).frames < before.frames + 24:
                await asyncio.sleep(0.01)
        return before, after

    with camera_live.places() as where:
        before, after = asyncio.run(counted(where))
        assert os.path.isdir(where.runtime)
    assert after.published > before.published
    assert after.cpu_s >= before.cpu_s
    assert not os.path.exists(where.runtime)
