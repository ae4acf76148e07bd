"""Records that may not be read for longer than they may."""

import time

import numpy as np
import pytest

from jepad.errors import Lapped, NotFound, RingError
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer
from jepad.scene.following.shelf import MAX_BYTES, MAX_SLOTS, Record, Shelf, slots_for

LAYOUT = Layout("embeddings.door", np.float32, (4,), {}, 8)
SECRET = np.full(4, 1234.5, np.float32)


class Time:
    """Seconds after the present that may be set; the ring itself has the true one."""

    def __init__(self):
        self._start, self.later = time.monotonic_ns(), 0

    def __call__(self):
        return self._start + int(self.later * 1e9)


@pytest.fixture
def shelf(prefix):
    clock, made = Time(), []

    def make(retention_s=60.0):
        made.append(Shelf(prefix, LAYOUT, retention_s, clock))
        return made[-1], clock

    yield make
    for each in made:
        each.close()


def there(prefix, value=1234.5):
    """Is it anywhere in the object, for whoever maps it?"""
    with open(f"/dev/shm/{prefix}.{LAYOUT.stream}", "rb") as file:
        return np.float32(value).tobytes() in file.read()


def test_old_records_are_wiped_though_nothing_new_comes(prefix, shelf):
    kept, clock = shelf()
    assert kept.empty
    kept.publish(Record(SECRET, clock(), 7))
    with Stream(prefix, LAYOUT.stream) as stream:
        assert stream.read().source_n == 7
        clock.later = 59
        kept.sweep()
        assert there(prefix)
        assert not kept.empty
        clock.later = 61
        kept.sweep()
        assert not there(prefix)
        assert kept.empty
        with pytest.raises(Lapped):
            stream.read(n=0)


def test_wiped_when_closed_for_those_who_have_it_open(prefix, shelf):
    kept, clock = shelf()
    kept.publish(Record(SECRET, clock(), 0))
    with Stream(prefix, LAYOUT.stream) as stream:
        kept.close()
        kept.close()
        kept.publish(Record(SECRET, clock(), 1))
        kept.sweep()
        assert stream.state == "retired"
        assert np.float32(1234.5).tobytes() not in stream._bytes.tobytes()
    with pytest.raises(NotFound):
        Stream(prefix, LAYOUT.stream)


def test_what_a_killed_writer_left_is_wiped(prefix, shelf):
    before = Writer.create(prefix, LAYOUT)
    before.publish(SECRET, 1)
    before.close()
    assert there(prefix)
    shelf()
    assert not there(prefix)


def test_one_writer_at_a_time(prefix, shelf):
    shelf()
    with pytest.raises(RingError):
        shelf()


def test_capture_times_of_the_future_keep_nothing_alive(prefix, shelf):
    kept, clock = shelf()
    kept.publish(Record(SECRET, 1 << 62, 0))
    clock.later = 61
    kept.sweep()
    assert not there(prefix)


@pytest.mark.parametrize(
    ("wanted", "size", "slots"),
    [(0, 256, 4), (5, 256, 8), (1200, 4096, 2048), (1e9, 16, MAX_SLOTS), (1e9, 4096, 16384),
     (1e9, 100_000, 512), (3, 1 << 30, 4)],
)  # fmt: skip
def test_how_many_are_kept(wanted, size, slots):
    assert slots_for(wanted, size) == slots
    assert slots == 4 or slots * size <= MAX_BYTES
