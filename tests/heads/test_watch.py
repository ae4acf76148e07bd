"""The record of a frame: its order, its words, and that what is read is what was seen."""

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.heads.watch import HEAD, Watch, length, read, schema
from jepad.vision.motion import Sensing
from tests.vision.views import SIZE, View


def test_a_record_reads_as_what_was_seen():
    view, watch = View(), Watch(SIZE)
    for n in range(12):
        seen = watch.see(view.frame((40, 8 * n - 24, 60, 24)), n / 4)
        record = seen.record()
        assert record.dtype == np.float32
        assert record.shape == (length(SIZE),)
        assert record.flags.c_contiguous
        got = read(record)
        assert (got.gate, got.present, got.surprising) == (
            seen.gate, seen.present, seen.surprising
        )  # fmt: skip
        assert got.peak == pytest.approx(seen.motion.peak)
        assert got.surprise == pytest.approx(seen.surprise, abs=1e-5)
        assert np.array_equal(got.cells, seen.motion.score)
        assert (record[0] >= 0.5) == seen.gate
    assert got.present
    assert got.speed > 0
    assert 0 < got.foreground < 1


def test_the_schema_names_every_number():
    said = schema(224)
    assert said["learned"] is False
    assert said["head"] == list(HEAD)
    assert said["cells"] == [14, 14]
    assert length(224) == len(HEAD) + 196
    assert len(set(HEAD)) == len(HEAD)


def test_a_flood_is_told_as_light():
    one, other, watch = View(0, harsh=True), View(9, harsh=True), Watch(SIZE)
    for n in range(8):
        watch.see(one.frame(), n / 4)
    assert read(watch.see(other.frame(), 2.0).record()).light


def test_settings_reach_what_they_are_for():
    view, watch = View(), Watch(SIZE, Sensing(refresh_s=0))
    assert all(watch.see(view.frame(), n / 4).gate for n in range(8))


def test_after_a_gap_time_may_begin_anew():
    view, watch = View(), Watch(SIZE)
    for n in range(300):
        seen = watch.see(view.frame(), n / 4)
    assert seen.warm
    watch.resume()
    seen = watch.see(view.frame(), 0.0)
    assert seen.gate
    assert seen.warm
    watch.reset()
    assert not watch.see(view.frame(), 0.0).warm


@pytest.mark.parametrize("wrong", [np.zeros(5), np.zeros(len(HEAD)), np.zeros(len(HEAD) + 3),
                                   np.zeros((2, 20))])  # fmt: skip
def test_what_is_no_record_is_refused(wrong):
    with pytest.raises(SettingError, match="a record of motion"):
        read(wrong.astype(np.float32))
