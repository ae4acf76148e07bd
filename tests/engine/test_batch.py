"""Jobs share a run, and no answer comes late."""

import numpy as np
import pytest

from jepad.engine.batch import MAX_HOSTS, MAX_QUEUE, MAX_WAIT_NS, Batch, Job
from jepad.errors import EngineError
from jepad.heads.action import Action, condition, units
from jepad.heads.forecast import Output
from jepad.heads.history import Running
from jepad.heads.prepare import prepare


class Persistence:
    """A backend of the same outputs: no step from the last value, latents that name their host."""

    digest = "00" * 32

    def __init__(self):
        self.sizes = []

    def infer(self, feeds):
        b, c = feeds["valid"].shape[:2]
        self.sizes.append((b, c))
        if c == 13:
            raise EngineError("the model failed: 13")
        mark = np.arange(b, dtype=np.float32)[:, None]
        return {
            "quantiles": np.zeros((b, c, 4, 3), np.float32),
            "p_rise": np.zeros((b, c, 4), np.float32),
            "z": np.repeat(mark, 8, 1),
            "z_hat": np.zeros((b, 4, 8), np.float32),
        }


class Clock:
    now = 1000

    def __call__(self):
        return self.now


def job(answers, channels=2, **other):
    values = np.cumsum(np.ones((channels, 40)), axis=1) * (1 + len(answers))
    fields = {"values": values, "dt_s": 1.0, "deadline_ns": 10**18} | other
    place = len(answers)
    answers.append(None)
    return Job(done=lambda result: answers.__setitem__(place, result), **fields)


def test_jobs_of_a_size_share_a_run_and_get_their_own_answer():
    backend, answers = Persistence(), []
    batch = Batch(backend)
    for channels in (2, 3, 2):
        batch.add(job(answers, channels))
    batch.run()
    assert sorted(backend.sizes) == [(1, 3), (2, 2)]
    for k, (channels, output) in enumerate(zip((2, 3, 2), answers, strict=True)):
        assert isinstance(output, Output)
        np.testing.assert_allclose(output.quantiles, np.full((1, channels, 4, 3), 40.0 * (1 + k)))
    assert answers[2].z[0, 0] == 1
    assert (batch.runs, batch.jobs) == (2, 3)


def test_with_and_without_history():
    backend, answers = Persistence(), []
    running = Running(2)
    for _ in range(200):
        running.update(np.ones(2))
    batch = Batch(backend)
    batch.add(job(answers, history=running.history()))
    batch.add(job(answers))
    batch.add(job(answers, history=running.history()))
    batch.run()
    assert sorted(backend.sizes) == [(1, 2), (2, 2)]
    assert all(isinstance(a, Output) for a in answers)


def test_a_failed_run_fails_its_own_jobs_only():
    answers = []
    batch = Batch(Persistence())
    batch.add(job(answers, 13))
    batch.add(job(answers, 2))
    batch.run()
    assert isinstance(answers[0], EngineError)
    assert isinstance(answers[1], Output)


def test_late_before_the_run_and_late_after_it():
    clock, answers = Clock(), []

    class Slow(Persistence):
        def infer(self, feeds):
            clock.now += 500
            return super().infer(feeds)

    batch = Batch(Slow(), clock)
    batch.add(job(answers, deadline_ns=999))
    batch.add(job(answers, deadline_ns=1100))
    batch.add(job(answers, deadline_ns=1600))
    batch.run()
    assert isinstance(answers[0], EngineError)
    assert isinstance(answers[1], EngineError)
    assert isinstance(answers[2], Output)
    assert batch.late == 2


def test_waits_for_company_but_not_long():
    clock, answers = Clock(), []
    batch = Batch(Persistence(), clock)
    assert batch.wait_ns() is None
    batch.add(job(answers))
    assert batch.wait_ns() == MAX_WAIT_NS
    clock.now += MAX_WAIT_NS // 2
    batch.add(job(answers))
    assert batch.wait_ns() == MAX_WAIT_NS // 2
    clock.now += MAX_WAIT_NS
    assert batch.wait_ns() == 0


def test_full_batches_go_at_once_and_the_queue_is_bounded():
    backend, answers = Persistence(), []
    batch = Batch(backend)
    for _ in range(MAX_QUEUE):
        batch.add(job(answers))
    assert batch.wait_ns() == 0
    with pytest.raises(EngineError):
        batch.add(job([]))
    while batch.wait_ns() is not None:
        batch.run()
    assert backend.sizes == [(MAX_HOSTS, 2)] * (MAX_QUEUE // MAX_HOSTS)
    assert all(isinstance(a, Output) for a in answers)


class Doer(Persistence):
    """Tells the guesses for an effect, each 1 in units of its own."""

    actions = ("memory.high",)

    def infer(self, feeds):
        self.feeds = feeds
        effect = feeds["effects"].sum(-1, keepdims=True).repeat(3, -1)
        return super().infer(feeds) | {"effect": effect}


def test_actions_reach_their_own_job_and_come_back_in_units_of_the_series():
    names = ("cgroup.a.memory_current", "mem.MemFree")
    backend, answers = Doer(), []
    batch = Batch(backend)
    assert batch.actions == ("memory.high",)
    values = np.array([[6e8], [1e6]]) * (1 + np.arange(40) * 1e-6)
    for limit in (1e8, 4e8):
        act = Action("memory.high", "a", limit)
        batch.add(job(answers, values=values, action=act, series=names))
    batch.add(job(answers, values=values))
    batch.run()
    assert backend.sizes == [(2, 2), (1, 2)]
    assert not backend.feeds["action"].any()  # of the last run, the one without
    for answer, limit in zip(answers, (1e8, 4e8), strict=False):
        whole = np.concatenate([np.full((1, 2, 88), np.nan), values[None]], axis=2)
        prepared = prepare(whole, np.ones(1))
        told = condition(prepared, names, whole, Action("memory.high", "a", limit))
        wanted = told["effects"].sum(-1) * units(prepared, names)
        assert wanted[0, 0, 3] < -6e7  # 64 s of swapping out
        np.testing.assert_allclose(answer.effect[..., 1], wanted, rtol=1e-3)
    assert not answers[2].effect.any()
