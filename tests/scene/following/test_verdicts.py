"""Whose verdict is of which frame."""

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.ring.layout import Layout
from jepad.ring.writer import Writer
from jepad.scene.following import verdicts as room
from jepad.scene.following.verdicts import Verdicts

HEAD = {"head": ["gate", "changed"]}


@pytest.fixture
def motion(prefix):
    writer = Writer.create(prefix, Layout("motion.door", np.float32, (2,), HEAD, 16))
    yield writer
    writer.retire()


def say(writer, n, gate):
    writer.publish(np.array([gate, 0], np.float32), n + 1, source_n=n)


def test_each_frame_has_its_own(prefix, motion):
    for n, gate in [(4, 1), (5, 0), (6, 0.5), (7, 0.49), (8, np.nan)]:
        say(motion, n, gate)
    found = Verdicts(prefix, "motion.door")
    assert [found.of(n) for n in (4, 5, 6, 7, 8)] == [True, False, True, False, True]
    assert found.of(5) is False


def test_a_frame_that_was_left_out_has_none(prefix, motion):
    found = Verdicts(prefix, "motion.door")
    say(motion, 1, 0)
    say(motion, 3, 0)
    assert [found.of(n) for n in (1, 2, 3)] == [False, None, False]
    assert found.of(4) is None


def test_a_lapped_reader_goes_on_with_the_newest(prefix, motion):
    found = Verdicts(prefix, "motion.door")
    for n in range(100):
        say(motion, n, 0)
    assert found.of(3) is None
    assert found.of(99) is False


def test_those_too_old_to_be_kept_are_gone(prefix, motion):
    found = Verdicts(prefix, "motion.door")
    say(motion, 0, 0)
    motion.forget(1 << 62)
    assert found.of(0) is None
    say(motion, 1, 0)
    assert found.of(1) is False


def test_a_stream_may_come_later_and_come_anew(prefix, monkeypatch):
    monkeypatch.setattr(room, "AGAIN_S", 0)
    found = Verdicts(prefix, "motion.door")
    assert "motion.door" in found.reason
    assert found.of(0) is None
    for _ in range(2):
        writer = Writer.create(prefix, Layout("motion.door", np.float32, (2,), HEAD, 16))
        say(writer, 0, 0)
        assert found.of(0) is False
        writer.retire()
        found.reopen()
    assert found.of(0) is None


@pytest.mark.parametrize(
    ("dtype", "shape", "schema"),
    [(np.float64, (2,), HEAD), (np.float32, (2, 2), HEAD), (np.float32, (2,), {}),
     (np.float32, (2,), {"head": []}), (np.float32, (2,), {"head": {"gate": 1}}),
     (np.float32, (2,), {"head": ["score", "gate"]})],
)  # fmt: skip
def test_a_stream_without_verdicts_is_refused_by_name(prefix, dtype, shape, schema):
    with (
        Writer.create(prefix, Layout("motion.door", dtype, shape, schema, 4)),
        pytest.raises(SettingError, match=r"motion\.door: no verdicts"),
    ):
        Verdicts(prefix, "motion.door")
