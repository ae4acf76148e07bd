"""Labelled video and clips made on the spot: an obvious anomaly is found, a bad set is refused."""

from dataclasses import replace

import av
import numpy as np
import pytest

from bench import videos, watch, watch_frames, watch_signs
from bench.report import Options
from jepad.errors import SettingError
from tests.vision.views import View

SIZE = 64


def film(path, frames, rate=10):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width = stream.height = SIZE
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())


def labels(path, label, first=0):
    rows = [f"{n + first},{one}" for n, one in enumerate(label)]
    path.write_text("\n".join(["frame,label", *rows]) + "\n")


def strolling(view, count, fast=()):
    """A small thing goes slowly; from frames `fast` on a large one races."""
    out = []
    for n in range(count):
        thing = (2, 8 + n % 30, 8, 6)
        out.append(view.frame((20, 7 * n % 50, 30, 20) if n in fast else thing))
    return out


@pytest.fixture
def small(monkeypatch):
    """Views of 64 pixels, and a random network of a moment."""
    monkeypatch.setattr(videos, "SIZE", SIZE)
    monkeypatch.setattr(videos.frames, "__defaults__", (0.0, SIZE))
    tiny = replace(watch_signs.TINY, width=24, heads=2, hidden=48, depth=1, size=32, frames=4)
    monkeypatch.setattr(watch_signs, "TINY", tiny)
    watch_signs._network.cache_clear()
    yield
    watch_signs._network.cache_clear()


@pytest.fixture
def data(tmp_path):
    """Two normal videos, and two with something in the middle."""
    (tmp_path / "training").mkdir()
    (tmp_path / "testing").mkdir()
    for n in range(2):
        film(tmp_path / "training" / f"{n}.mp4", strolling(View(7, SIZE), 60))
        fast = range(20, 32)
        film(tmp_path / "testing" / f"{n:02}.mp4", strolling(View(7, SIZE), 50, fast))
        label = [int(k in fast) for k in range(50)]
        labels(tmp_path / "testing" / f"{n:02}.labels.csv", label, first=n)
    return tmp_path


@pytest.fixture
def fights(tmp_path):
    """Eight sources; in those labelled 1 things race."""
    place = tmp_path / "fight"
    place.mkdir()
    rows = ["file,label,group"]
    for n in range(24):
        racing = range(12) if n % 2 else ()
        film(place / f"{n}.mp4", strolling(View(n, SIZE), 12, racing))
        rows.append(f"{n}.mp4,{n % 2},g{n // 3}")
    (place / "clips.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_what_is_obvious_is_found(data, small):
    report = watch.run(Options(quick=True, data=str(data)))
    (table,) = report.tables
    rows = {row[0]: row for row in table.rows}
    assert set(rows) == set(watch_frames.NAMES)
    for name in (watch_frames.PEAK, watch_frames.SURPRISE, watch_frames.FLOWS):
        _, micro, low, high, macro, videos_with_both = rows[name]
        assert micro > 0.9
        assert low <= micro <= high
        assert macro > 0.9
        assert videos_with_both == 2
    goals = {goal.what: goal for goal in report.goals}
    assert goals[f"labelled video AUROC, {watch_frames.PEAK}"].value > 0.9
    assert goals["fight probe AUROC, flow"].met is None
    assert "learned=false" in report.notes[-1]


def test_the_probe_tells_racing_from_strolling(fights, small):
    report = watch.run(Options(data=str(fights)))
    goals = [g for g in report.goals if g.what.startswith("fight probe")]
    assert len(goals) == 3
    assert all(goal.value > 0.9 for goal in goals)
    (table,) = report.tables
    assert [row[0] for row in table.rows[:4]] == [
        watch.DIFFERENCE, watch.FLOW, watch.RANDOM, watch.BASELINE
    ]  # fmt: skip
    assert "8 sources" in table.title


def test_without_data_nothing_is_measured():
    report = watch.run(Options())
    assert len(report.goals) == 5
    assert all(goal.met is None and "--data" in goal.note for goal in report.goals)
    assert not report.tables


def test_labels_may_begin_at_one(tmp_path):
    labels(tmp_path / "a.csv", [0, 1, 1], first=1)
    assert videos.labels(tmp_path / "a.csv").tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "text",
    ["frame,label\n", "frame,label\n0,0\n2,1\n", "frame,label\n0,0\n0,1\n", "frame,label\n0,2\n",
     "frame,label\n5,0\n6,1\n", "n,label\n0,0\n", "frame,label\n0,x\n", "frame,label\n0\n", "\0"],
)  # fmt: skip
def test_labels_that_can_not_be_used_are_refused(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(SettingError, match=r"a\.csv"):
        videos.labels(tmp_path / "a.csv")


def test_as_many_labels_as_frames(data, small):
    labels(data / "testing" / "00.labels.csv", [0] * 49)
    with pytest.raises(SettingError, match="50 frames and 49 labels"):
        watch.run(Options(quick=True, data=str(data)))


def test_a_set_without_normal_video_is_refused(data):
    for path in (data / "training").iterdir():
        path.unlink()
    with pytest.raises(SettingError, match=r"training/\*\.mp4"):
        videos.labelled(str(data))


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(SettingError, match="no video"):
        list(videos.frames(str(tmp_path / "a.mp4")))


def test_frames_come_at_the_rate_asked_for(tmp_path):
    film(tmp_path / "a.mp4", [View(0, SIZE).frame()] * 30, rate=10)
    got = list(videos.frames(str(tmp_path / "a.mp4"), 5.0, 32))
    assert [f.number for f in got] == list(range(0, 30, 2))
    assert got[0].pixels.shape == (32, 32, 3)
    assert np.allclose([f.time_s for f in got], np.arange(15) / 5)
