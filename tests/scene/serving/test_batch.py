"""Calls share runs; each gets its own answer, in time or not at all; a fault costs one call."""

import numpy as np
import pytest

from jepad.errors import DeviceLost, EngineError, JepadError, Late, SettingError, TooLarge
from jepad.scene.backend import Encoded, Tables
from jepad.scene.serving.batch import (
    MAX_BATCH,
    MAX_HELD,
    MAX_QUEUE,
    MAX_WAIT_NS,
    Alone,
    Batch,
    Call,
    Classify,
    Encode,
    Predict,
)
from tests.scene.fakes import Clock, Counting

TABLES = Tables(np.ones((1, 4, 6), np.float32), np.zeros((1, 4, 6), np.float32))
FAR = 10**18


def patches(value, count=1, tokens=4):
    return np.full((count, tokens, 3), value, np.float32)


class Rig:
    def __init__(self):
        self.backend, self.clock, self.answers = Counting(), Clock(), {}
        self.batch = Batch(lambda run: run(self.backend), self.clock)

    def add(self, name, steps, deadline=FAR, held=0):
        def done(answer):
            assert name not in self.answers
            self.answers[name] = answer

        self.batch.add(Call(steps, deadline, done, held))

    def encode(self, name, value, tables=TABLES, **other):
        def steps():
            encoded = yield Encode(patches(value), tables)
            return encoded.tokens

        self.add(name, steps, **other)


@pytest.fixture
def rig():
    return Rig()


def test_clips_are_classified_together(rig):
    def steps(value):
        return (yield Classify(patches(value)))

    for i in range(3):
        rig.add(i, lambda i=i: steps(i))
    rig.batch.run()
    assert rig.batch.runs == 1
    assert [rig.answers[i].tolist() for i in range(3)] == [[[i] * 3] for i in range(3)]


def test_one_run_and_each_its_own(rig):
    for i in range(5):
        rig.encode(i, i)
    rig.batch.run()
    assert rig.backend.encoded == [((5, 4, 3), 1)]
    for i in range(5):
        assert rig.answers[i].shape == (1, 4, 2)
        assert (rig.answers[i] == i + 1).all()


def test_other_tables_of_the_same_size_are_kept_apart_by_row(rig):
    other = Tables(TABLES.cos * 2, TABLES.sin)
    rig.encode("a", 0)
    rig.encode("b", 1, other)
    rig.batch.run()
    assert rig.backend.encoded == [((2, 4, 3), 2)]


def test_other_shapes_do_not_share(rig):
    rig.encode("a", 0)
    wide = Tables(np.ones((1, 5, 6), np.float32), np.ones((1, 5, 6), np.float32))

    def steps():
        return (yield Encode(patches(7, tokens=5), wide)).tokens

    rig.add("b", steps)
    rig.batch.run()
    assert set(rig.answers) == {"a"}
    rig.batch.run()
    assert set(rig.answers) == {"a", "b"}


def test_at_most_so_many_in_a_run(rig):
    for i in range(MAX_BATCH + 3):
        rig.encode(i, i)
    assert rig.batch.wait_ns() == 0
    rig.batch.run()
    assert len(rig.answers) == MAX_BATCH == rig.batch.largest
    rig.batch.run()
    assert len(rig.answers) == MAX_BATCH + 3


def test_a_run_waits_for_company_but_not_long(rig):
    assert rig.batch.wait_ns() is None
    rig.encode("a", 0)
    assert rig.batch.wait_ns() == MAX_WAIT_NS
    rig.clock.now += MAX_WAIT_NS
    assert rig.batch.wait_ns() == 0


def test_what_follows_waits_no_more(rig):
    def steps():
        encoded = yield Encode(patches(1), TABLES)
        longer = Tables(np.ones((1, 6, 6), np.float32), np.ones((1, 6, 6), np.float32))
        return (yield Predict(encoded.tokens, longer, 1))

    rig.add("a", steps)
    rig.clock.now += MAX_WAIT_NS
    rig.batch.run()
    assert rig.batch.wait_ns() == 0
    rig.batch.run()
    assert rig.answers["a"].shape == (1, 2, 2)


def test_late_before_it_runs_and_after(rig):
    rig.encode("past", 0, deadline=rig.clock.now - 1)
    assert isinstance(rig.answers["past"], Late)
    rig.encode("waits", 0, deadline=rig.clock.now + 5)
    rig.encode("time", 0)
    rig.clock.now += 6
    rig.batch.run()
    assert isinstance(rig.answers["waits"], Late)
    assert rig.backend.encoded == [((1, 4, 3), 1)]

    def slow():
        encoded = yield Encode(patches(0), TABLES)
        rig.clock.now += 100
        return encoded.tokens

    rig.add("slow", slow, deadline=rig.clock.now + 50)
    rig.batch.run()
    assert isinstance(rig.answers["slow"], Late)
    assert rig.batch.late == 3


def test_a_full_queue_says_so(rig):
    for i in range(MAX_QUEUE):
        rig.encode(i, 0)
    rig.encode("more", 0)
    assert "waiting already" in str(rig.answers["more"])
    big = Rig()
    big.encode("a", 0, held=MAX_HELD - 100)
    big.encode("b", 0, held=100)
    assert isinstance(big.answers["b"], EngineError)
    big.batch.run()
    big.encode("c", 0, held=1)
    big.batch.run()
    assert isinstance(big.answers["c"], np.ndarray)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(SettingError("no"), SettingError), (ValueError("x"), EngineError), (MemoryError(), TooLarge)],
)
def test_a_fault_costs_one_call(rig, raised, kind):
    def broken():
        yield Encode(patches(0), TABLES)
        raise raised

    rig.add("bad", broken)
    rig.encode("good", 3)
    rig.batch.run()
    assert isinstance(rig.answers["bad"], kind)
    assert (rig.answers["good"] == 4).all()


def test_a_lost_device_costs_its_run_alone(rig):
    rig.encode("a", 0)
    rig.encode("b", 1)
    rig.backend.lost = True
    rig.batch.run()
    assert all(isinstance(rig.answers[n], DeviceLost) for n in "ab")
    rig.backend.lost = False
    rig.encode("c", 2)
    rig.batch.run()
    assert (rig.answers["c"] == 3).all()


def test_numbers_that_are_none_do_not_leave(rig):
    rig.backend.encode = lambda *_: Encoded(np.full((1, 4, 2), np.nan, np.float32))
    rig.encode("a", 0)
    rig.batch.run()
    assert "not finite" in str(rig.answers["a"])
    assert isinstance(rig.answers["a"], JepadError)


def test_what_runs_alone_runs_at_once_and_by_itself(rig):
    def steps():
        return (yield Alone(lambda backend: backend.device))

    rig.add("a", steps)
    rig.add("b", steps)
    assert rig.batch.wait_ns() == 0
    rig.batch.run()
    assert rig.answers == {"a": "cpu"}


def test_clips_of_many_rows_are_split_rightly(rig):
    for name, count in (("a", 3), ("b", 2)):

        def steps(count=count):
            return (yield Encode(patches(count, count), TABLES)).tokens

        rig.add(name, steps)
    rig.batch.run()
    assert rig.answers["a"].shape[0] == 3
    assert (rig.answers["b"] == 3).all()
    assert rig.answers["b"].shape[0] == 2


def test_rows_count_not_calls(rig):
    """What 32 calls of 32 rows would be together is no run."""
    for i in range(4):

        def steps(i=i):
            return (yield Encode(patches(i, MAX_BATCH // 2 - 1), TABLES)).tokens

        rig.add(i, steps)
    rig.batch.run()
    assert rig.backend.encoded[0][0][0] == MAX_BATCH - 2
    rig.batch.run()
    assert [shape[0] for shape, _ in rig.backend.encoded] == [MAX_BATCH - 2] * 2
    assert all((rig.answers[i] == i + 1).all() for i in range(4))


def test_a_run_holds_what_memory_allows():
    rig, room = Rig(), [8]
    rig.batch = Batch(lambda run: run(rig.backend), rig.clock, lambda: room[0])
    for i in range(5):
        rig.encode(i, i)
    rig.batch.run()
    assert rig.backend.encoded[-1][0][0] == 2
    room[0] = -1  # what was let in is answered, one by one
    rig.batch.run()
    assert rig.backend.encoded[-1][0][0] == 1
    room[0] = 1 << 30
    rig.batch.run()
    assert len(rig.answers) == 5


def test_company_is_waited_for_since_a_call_came(rig):
    def steps():
        return (yield Encode(patches(0), TABLES)).tokens

    rig.batch.add(Call(steps, FAR, print, 0, rig.clock.now - MAX_WAIT_NS + 7))
    assert rig.batch.wait_ns() == 7


def test_what_is_the_same_is_computed_once(rig):
    def steps(value, same):
        return (yield Encode(patches(value), TABLES, False, same)).tokens

    for i, same in enumerate(["a", "b", "a", None, None, "a"]):
        rig.add(i, lambda i=i, same=same: steps(ord(same) if same else i, same))
    rig.batch.run()
    assert rig.backend.encoded == [((4, 4, 3), 1)]
    assert [rig.answers[i][0, 0, 0] for i in range(6)] == [98, 99, 98, 4, 5, 98]


def test_whoever_wants_the_same_joins_a_full_run(rig):
    def steps(same):
        return (yield Encode(patches(0), TABLES, False, same)).tokens

    for i in [*range(MAX_BATCH + 1), 3]:
        rig.add((i, len(rig.batch)), lambda i=i: steps(i))
    rig.batch.run()
    assert rig.backend.encoded == [((MAX_BATCH, 4, 3), 1)]
    assert len(rig.answers) == MAX_BATCH + 1
    assert len(rig.batch) == 1


def test_many_of_the_same_fill_no_run(rig):
    def steps():
        return (yield Encode(patches(0), TABLES, False, "a")).tokens

    for i in range(MAX_BATCH):
        rig.add(i, steps)
    assert rig.batch.wait_ns() == MAX_WAIT_NS
    rig.batch.run()
    assert rig.backend.encoded == [((1, 4, 3), 1)]
    assert len(rig.answers) == MAX_BATCH
