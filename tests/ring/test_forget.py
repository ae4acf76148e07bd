"""What was forgotten can't be read: not by a reader, not in the object's bytes."""

import numpy as np
import pytest

from jepad.errors import Lapped, NotReady, RingError
from jepad.ring.layout import Layout
from jepad.ring.stream import Stream
from jepad.ring.writer import Writer

EVER = (1 << 64) - 1


@pytest.fixture
def frames():
    return Layout("frames.a", "u1", (16,), {}, 8)


def fill(writer, numbers, start=0):
    for n in numbers:
        writer.publish(np.full(16, 0xA0 + n, np.uint8), start + n)


def bytes_of(prefix):
    with open(f"/dev/shm/{prefix}.frames.a", "rb") as file:
        return file.read()


def test_old_records_are_lapped_and_newer_ones_stay(prefix, frames):
    with Writer.create(prefix, frames) as w, Stream(prefix, "frames.a") as s:
        fill(w, range(6))
        assert w.forget(4) == 4
        for n in range(4):
            with pytest.raises(Lapped):
                s.read(n)
        assert s.window(8)[1].tolist() == [4, 5]
        assert w.forget(4) == 0


def test_no_byte_of_them_is_left(prefix, frames):
    with Writer.create(prefix, frames) as w:
        fill(w, range(6))
        assert bytes_of(prefix).count(bytes([0xA1]) * 16) == 1
        w.forget(EVER)
        left = bytes_of(prefix)
        assert not any(bytes([0xA0 + n]) * 4 in left for n in range(6))


def test_a_stream_goes_on_after_all_was_forgotten(prefix, frames):
    with Writer.create(prefix, frames) as w, Stream(prefix, "frames.a") as s:
        fill(w, range(11))
        assert w.forget(EVER) == 8
        assert len(s.window(8)[0]) == 0
        with pytest.raises((Lapped, NotReady)), s.latest():
            pass
        assert s.head == 10
        fill(w, [11, 12])
        assert s.window(8)[1].tolist() == [11, 12]
        assert s.read(11).array[0] == 0xAB


def test_a_reader_in_the_middle_of_a_record_notices(prefix, frames):
    with Writer.create(prefix, frames) as w, Stream(prefix, "frames.a") as s:
        fill(w, [0])
        with pytest.raises(Lapped), s.latest():
            w.forget(EVER)


def test_what_is_published_late_is_as_old_as_its_capture(prefix, frames):
    with Writer.create(prefix, frames) as w:
        w.publish(np.ones(16, np.uint8), 10)
        assert w.forget(11) == 1


def test_a_record_captured_in_the_future_is_as_old_as_its_publishing(prefix, frames):
    with Writer.create(prefix, frames) as w:
        w.publish(np.ones(16, np.uint8), 1 << 62)
        assert w.forget(1 << 61) == 1


def test_the_next_writer_of_the_object_forgets_what_the_last_one_left(prefix, frames):
    with Writer.create(prefix, frames) as w:
        fill(w, range(3))
    with Writer.create(prefix, frames) as w, Stream(prefix, "frames.a") as s:
        assert w.forget(EVER) == 3
        fill(w, [3])
        assert s.read(3).epoch == 2
    with Writer.create(prefix, frames), Stream(prefix, "frames.a") as s:
        assert s.window(8)[1].tolist() == [3]


@pytest.mark.parametrize("before", [0, 3, 10])
def test_a_record_that_a_writer_died_in_is_wiped_whatever_its_age(prefix, frames, before):
    """The mark of an unfinished record, made by hand: slot of record `before`, payload half."""
    from jepad.ring.layout import HEADER_DTYPE, SLOT_SIZE

    with Writer.create(prefix, frames) as w:
        fill(w, range(before), start=1 << 62)
    raw = np.memmap(f"/dev/shm/{prefix}.frames.a", np.uint8, "r+")
    header = raw[: HEADER_DTYPE.itemsize].view(HEADER_DTYPE)[0]
    at = before % 8
    slot = int(header["slothdr_off"]) + at * SLOT_SIZE
    raw[slot : slot + 8].view("<u8")[0] = 2 * before + 1
    data = int(header["data_off"]) + at * int(header["payload_stride"])
    raw[data : data + 8] = 0xEE
    with Writer.create(prefix, frames) as w:
        assert w.forget(0) == 1
        assert not raw[data : data + 16].any()
        fill(w, [before])
        assert Stream(prefix, "frames.a").read(before).array[0] == 0xA0 + before


def test_a_closed_writer_forgets_nothing(prefix, frames):
    w = Writer.create(prefix, frames)
    w.close()
    with pytest.raises(RingError, match="closed"):
        w.forget(EVER)
