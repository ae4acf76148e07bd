"""A file of statistics is believed only as far as it can be true."""

import json
import os

import msgspec
import numpy as np
import pytest

from jepad.engine.keep import Keep
from jepad.engine.learned import LEARNED, MOST, Learned
from jepad.engine.scale import Scale
from jepad.heads.unusual import Unusual
from jepad.records import Series

MODEL = "ab" * 32
SERIES = (Series("mem.MemFree", "KiB", "gauge"), Series("cpu.busy", "tick/s", "gauge"))


def scales(count=2):
    made = Scale(count, 1.0), Scale(count, 10.0)
    context = np.random.default_rng(0).normal(size=(count, 200))
    for scale in made:
        scale.step(context, context.T)
    return made


def lived(count=2):
    """Two hundred steps, of which something is usual."""
    made = Unusual(count)
    made.observe(np.random.default_rng(0).normal(size=(200, count)), [1] * 200, None)
    return made


@pytest.fixture
def keep(tmp_path):
    kept = Keep(str(tmp_path))
    learned = Learned(MODEL)
    learned.begin(1.0)
    learned.note(SERIES, scales(), lived())
    learned.save(kept, 77)
    kept.close()
    return kept


def recalled(keep, series=SERIES, step_s=1.0):
    """How many samples each series is known from."""
    learned, fresh = Learned(MODEL), tuple(Scale(len(series), dt) for dt in (1.0, 10.0))
    learned.load(keep)
    learned.begin(step_s)
    learned.recall(series, range(len(series)), fresh)
    return [fresh[0].told(c)[0][0] for c in range(len(series))]


def rewritten(keep, change):
    """The saved book with one thing changed, by somebody who knows about checksums."""
    book = json.loads(keep.load(LEARNED, 1 << 20))
    change(book)
    keep.save(LEARNED, json.dumps(book).encode())
    keep.close()


def test_series_are_known_by_name_and_unit(keep):
    other = Series("mem.MemFree", "B", "gauge")
    assert recalled(keep) == [200, 200]
    assert recalled(keep, (SERIES[1], other)) == [200, 0]


def test_what_is_usual_is_known_by_the_series(keep):
    learned = Learned(MODEL)
    learned.load(keep)
    learned.begin(1.0)
    rows = np.random.default_rng(1).normal(size=(4, 2))
    same, swapped = learned.unusual(SERIES), learned.unusual(SERIES[::-1])
    score = same.observe(rows, [1] * 4, None)
    assert score >= 0
    assert swapped.observe(rows[:, ::-1], [1] * 4, None) == pytest.approx(score)
    learned.begin(2.0)
    assert np.isnan(learned.unusual(SERIES).observe(rows, [1] * 4, None))


def test_widths_are_known_by_the_series_until_the_model_is_another(keep):
    made = scales()
    made[0].restore(0, *made[0].told(0)[:2], [0.5, 0.1, 0.2, 0.3])
    learned = Learned(MODEL)
    learned.begin(1.0)
    learned.note(SERIES, made, lived())
    learned.save(keep, 77)
    keep.close()
    for digest, known in ((MODEL, [0.5, 0.1, 0.2, 0.3]), ("cd" * 32, [0.0] * 4)):
        again, fresh = Learned(digest), scales()
        again.load(keep)
        again.recall(SERIES[::-1], [1], fresh)
        assert fresh[0].told(1)[2] == known
        score = again.unusual(SERIES).observe(np.zeros((1, 2)), [1], None)
        assert np.isnan(score) == (digest != MODEL)


def test_another_step_says_nothing_of_this_one(keep):
    assert recalled(keep, step_s=2.0) == [0, 0]


def test_rows_that_were_counted_are_not_counted_again(keep):
    learned = Learned(MODEL)
    learned.load(keep)
    assert learned.fresh(np.array([70, 77, 78, 80])) == 2
    assert learned.fresh(np.array([1, 2])) == 2  # asked of the first rows alone


@pytest.mark.parametrize("times", [[70, 77], [1, 5]])
def test_there_is_always_a_row_to_forecast_from(keep, times):
    learned = Learned(MODEL)
    learned.load(keep)
    assert learned.fresh(np.array(times)) >= 1


def test_rows_of_another_boot_are_all_new(keep):
    rewritten(keep, lambda book: book.update(boot="another"))
    learned = Learned(MODEL)
    learned.load(keep)
    assert learned.fresh(np.array([70, 77])) == 2


def test_those_unseen_for_longest_are_forgotten(keep):
    learned = Learned(MODEL)
    learned.load(keep)
    many = tuple(Series(f"n{i}", "", "gauge") for i in range(MOST))
    learned.note(many, scales(MOST), Unusual(MOST))
    learned.save(keep, 0)
    keep.close()
    assert recalled(keep) == [0, 0]
    assert recalled(keep, many[:2]) == [200, 200]


def fast(book):
    return book["series"][0]["fast"]


def set_running(book, at, value):
    fast(book)["running"][at] = value


HOSTILE = {
    "no object": lambda book: book.clear(),
    "another key": lambda book: book.update(evil=1),
    "infinite": lambda book: set_running(book, 1, float("inf")),
    "not a number": lambda book: set_running(book, 1, float("nan")),
    "words": lambda book: set_running(book, 1, "x"),
    "beyond float": lambda book: set_running(book, 1, 10**400),
    "negative variance": lambda book: set_running(book, 2, -1.0),
    "negative count": lambda book: set_running(book, 0, -1.0),
    "short": lambda book: fast(book)["running"].pop(),
    "ragged": lambda book: fast(book)["blend"][0].pop(),
    "many rows": lambda book: fast(book).update(blend=[[0.0] * 4] * 1000),
    "negative error": lambda book: fast(book)["blend"][0].__setitem__(0, -1.0),
    "many series": lambda book: book.update(series=book["series"] * MOST),
    "long name": lambda book: book["series"][0].update(name="x" * 100_000),
    "no step": lambda book: book.update(step_s=0.0),
    "infinite width": lambda book: fast(book).update(width=[float("inf")] * 4),
    "short width": lambda book: fast(book)["width"].pop(),
    "usual of words": lambda book: book.update(usually="x"),
    "usual of nothing": lambda book: book["usually"]["state"].pop("sd"),
    "usual of others": lambda book: book["usually"]["series"].pop(),
    "usual of text": lambda book: book["usually"]["state"].update(mean="x"),
    "usual of objects": lambda book: book["usually"]["state"].update(mean={}),
    "usual beyond float": lambda book: book["usually"]["state"].update(mean=[10**400, 1]),
    "usual without width": lambda book: book["usually"]["state"].update(sd=[0.0, -1.0]),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_book_is_refused_with_one_line(keep, caplog, change):
    rewritten(keep, change)
    assert recalled(keep) == [0, 0]
    told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(told) == 1
    assert keep.path(LEARNED) in told[0]
    assert "learning starts anew" in told[0]
    assert len(told[0]) < 1000


def test_noise_is_refused(keep, caplog):
    rng = np.random.default_rng(0)
    for size in (0, 1, 100, 5000, 2_000_000):
        for name in (LEARNED, "days"):
            with open(keep.path(name), "wb") as file:
                file.write(rng.bytes(size))
        assert recalled(keep) == [0, 0]
    for payload in (b"", b"{", b"[" * 100_000, b"\x00", os.urandom(999), msgspec.msgpack.encode(7)):
        for name in (LEARNED, "days"):
            keep.save(name, payload)
            keep.close()
        assert recalled(keep) == [0, 0]
    assert len(caplog.records) == 22
