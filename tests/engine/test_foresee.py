"""Questions about actions: runs in turn, each answered once, refused in words."""

import asyncio

import numpy as np
import pytest

from jepad.engine import onnx, wire
from jepad.engine.batch import MAX_QUEUE, Batch, Job
from jepad.engine.desk import Desk
from jepad.engine.foresee import Foresight
from jepad.errors import EngineError, JepadError, NotFound, NotReady, SettingError
from jepad.heads.action import Action, condition, units
from jepad.heads.guesses import KINDS
from jepad.heads.prepare import prepare
from jepad.models import store
from tests import graph

from .conftest import PATIENCE_S
from .test_server import ask, opened

UNIT = "app.slice/x"
NAMES = (
    f"cgroup.{UNIT}.memory_current", f"cgroup.{UNIT}.cpu_usage", "cgroup.b.cpu_usage",
    "cpu.busy", "cpu.idle", "mem.MemAvailable",
)  # fmt: skip
LEVELS = np.array([7e8, 4e5, 2e5, 60, 140, 3e6])
MEMORY, CPU, OTHER, BUSY, _, AVAILABLE = range(6)
FOREVER = 10**19


def backend(directory, actions=True, kinds=KINDS):
    files = store.load(graph.write(directory, actions))
    return onnx.load(files.onnx_path, files.digest, kinds)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return backend(tmp_path_factory.mktemp("tiny"))


def window(steps=128):
    noise = np.random.default_rng(0).normal(1, 0.001, (steps, len(NAMES)))
    return LEVELS * noise


def request(*acts, values=None, names=NAMES, deadline_ns=FOREVER):
    array = wire.pack(window() if values is None else values)
    return wire.Foresee(7, deadline_ns, array, names, 1.0, acts)


def told(batch, asked):
    """The one answer to a request at the desk."""
    answers = []
    Desk(batch, lambda _: None).take(asked, answers.append)
    while batch and batch.wait_ns() is not None:
        batch.run()
    (answer,) = answers
    return answer


def rows(answer, name):
    return wire.doubles(getattr(answer, name))


def guessed(limit):
    """[C, H]: what the graph makes of a memory limit, in the units of the series."""
    values = window().T[None]
    prepared = prepare(values, np.ones(1))
    told = condition(prepared, NAMES, values, Action("memory.high", UNIT, limit))
    return told["effects"][0].sum(-1) * units(prepared, NAMES)[0]


def test_one_action_is_one_run(tiny):
    batch = Batch(tiny)
    answer = told(batch, request(wire.Act("freeze", UNIT)))
    assert batch.runs == 1
    assert answer.id == 7
    assert answer.horizons_s == (1, 4, 16, 64)
    assert answer.usable == (True,) * len(NAMES)
    assert answer.model_digest == tiny.digest
    without, acted, difference = (rows(answer, n) for n in ("without", "acted", "difference"))
    assert without.shape == acted.shape == difference.shape == (len(NAMES), 4, 3)
    np.testing.assert_allclose(acted[..., 1], without[..., 1] + difference[..., 1])
    np.testing.assert_allclose(without[:, 0, 1], window()[-1])
    # What it used is used no more; others gain nothing where a processor idles.
    assert (difference[CPU, :, 2] < -3e5).all()
    assert (np.abs(difference[OTHER]) < 3e4).all()
    assert (difference[BUSY, :, 2] < -30).all()


def test_a_limit_is_in_the_units_of_the_series(tiny):
    answer = told(Batch(tiny), request(wire.Act("memory.high", UNIT, 5e8)))
    difference = rows(answer, "difference")[..., 1]
    np.testing.assert_allclose(difference, guessed(5e8), rtol=1e-3, atol=1e-6)
    # Nothing is known of its page cache: what must go is swapped out, 1 MiB a second.
    assert -1.5e8 < difference[MEMORY, 3] < -6e7  # bytes
    assert 5e4 < difference[AVAILABLE, 3] < 1e6  # KiB


def test_a_sequence_runs_both_lives_on(tiny):
    batch = Batch(tiny)
    acts = (wire.Act("freeze", UNIT), wire.Act("thaw", UNIT, 0.0, 30), wire.Act("", after=64))
    answer = told(batch, request(*acts))
    assert batch.jobs == 5
    assert answer.horizons_s == (1, 4, 16, 31, 34, 46, 94, 95, 98, 110, 158)
    cpu = rows(answer, "acted")[CPU, :, 1]
    assert (cpu[:3] < 5e4).all()
    assert cpu[3] > 3e5  # it came back
    assert np.isfinite(rows(answer, "difference")).all()
    width = np.diff(rows(answer, "difference")[..., [0, 2]], axis=-1)[..., 0]
    assert (width[:, -1] >= width[:, 2] * 0.999).all()


def test_questions_share_runs_and_get_their_own_answer(tiny):
    batch, answers = Batch(tiny), []
    for limit in (5e8, 3e8):
        Foresight(request(wire.Act("memory.high", UNIT, limit)), batch, answers.append).start()
    batch.run()
    assert batch.runs == 1
    for answer, limit in zip(answers, (5e8, 3e8), strict=True):
        difference = rows(answer, "difference")[..., 1]
        np.testing.assert_allclose(difference, guessed(limit), rtol=1e-3, atol=1e-6)


def test_a_plain_forecast_can_be_run_on_too(tiny):
    answer = told(Batch(tiny), request(wire.Act(""), wire.Act("", after=64)))
    assert answer.horizons_s[-1] == 128
    assert not rows(answer, "difference").any()


def few(*channels):
    values = window()
    values[:-8, channels] = np.nan
    return values


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ((wire.Act("power.profile", UNIT),), NotReady, "never saw 'power.profile'"),
        ((wire.Act("freeze", "nobody"),), NotFound, "nobody"),
        ((wire.Act("freeze", "../../etc"),), NotFound, "known: app.slice/x"),
        ((wire.Act("freeze", ""),), NotFound, "group ''"),
        ((wire.Act("drop_caches", UNIT),), SettingError, "host"),
        ((wire.Act("cpu.weight", UNIT, 0.0),), SettingError, "1 to 10000"),
        ((wire.Act("memory.high", UNIT, float("nan")),), SettingError, "nan"),
        ((wire.Act("memory.high", UNIT, float("inf")),), SettingError, "inf"),
        ((wire.Act("memory.high", UNIT, -1.0),), SettingError, "-1"),
        ((wire.Act("freeze", UNIT), wire.Act("thaw", UNIT)), EngineError, "same moment"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_before_any_run(tiny, asked, kind, said):
    batch = Batch(tiny)
    answer = told(batch, request(*asked))
    assert isinstance(answer, wire.Refused)
    assert answer.bus_name == kind.bus_name
    assert said in answer.message
    assert batch.runs == 0


def test_too_few_samples_are_no_forecast(tiny):
    for values in (few(MEMORY, CPU), window(8)):
        answer = told(Batch(tiny), request(wire.Act("freeze", UNIT), values=values))
        assert answer.bus_name == NotReady.bus_name
        assert "no forecast: 8 samples of app.slice/x are too few, 16 are needed" in answer.message
    answer = told(Batch(tiny), request(wire.Act("freeze", UNIT), values=few(OTHER)))
    assert answer.usable == (True, True, False, True, True, True)


def test_names_must_be_those_of_the_channels(tiny):
    answer = told(Batch(tiny), request(wire.Act("drop_caches"), names=NAMES[1:]))
    assert "5 names for 6 channels" in answer.message


@pytest.mark.parametrize(("actions", "kinds"), [(False, KINDS), (True, ())])
def test_a_model_without_actions_says_so(tmp_path, actions, kinds):
    """A graph without the inputs; and one with them that was never shown an action."""
    batch = Batch(backend(tmp_path, actions, kinds))
    answer = told(batch, request(wire.Act("freeze", UNIT)))
    assert answer.bus_name == NotReady.bus_name
    assert "this model knows no actions" in answer.message
    assert batch.runs == 0
    answer = told(None, request(wire.Act("freeze", UNIT)))
    assert answer.bus_name == NotReady.bus_name
    assert "no model is loaded" in answer.message


def test_a_model_knows_the_actions_it_was_shown_and_no_others(tmp_path):
    batch = Batch(backend(tmp_path, kinds=("freeze", "thaw")))
    assert told(batch, request(wire.Act("freeze", UNIT))).actions == ("freeze", "thaw")
    answer = told(batch, request(wire.Act("freeze", UNIT), wire.Act("drop_caches", after=9)))
    assert answer.bus_name == NotReady.bus_name
    assert "this model never saw 'drop_caches'. Known: freeze, thaw" in answer.message


class Broken:
    """A backend that fails from some run on, or tells no effect."""

    def __init__(self, real, good=0, silent=False):
        self.real, self.good, self.silent = real, good, silent
        self.digest, self.actions = real.digest, real.actions

    def infer(self, feeds):
        self.good -= 1
        if self.good < 0:
            raise EngineError("the model failed: out of luck")
        found = dict(self.real.infer(feeds))
        if self.silent:
            del found["effect"]
        return found


@pytest.mark.parametrize(
    ("good", "silent", "said"),
    [(0, False, "luck"), (1, False, "luck"), (2, False, "luck"), (1, True, "no effect")],
)
def test_a_run_that_fails_ends_the_question_once(tiny, good, silent, said):
    acts = (wire.Act("freeze", UNIT), wire.Act("thaw", UNIT, 0.0, 30))
    answer = told(Batch(Broken(tiny, good, silent)), request(*acts))
    assert isinstance(answer, wire.Refused)
    assert said in answer.message


def test_late_in_the_middle_is_an_error(tiny):
    class Clock:
        now = 0

        def __call__(self):
            return self.now

    clock, answers = Clock(), []
    batch = Batch(tiny, clock)
    acts = (wire.Act("freeze", UNIT), wire.Act("thaw", UNIT, 0.0, 30))
    Foresight(request(*acts, deadline_ns=10), batch, answers.append).start()
    batch.run()
    clock.now = 11
    batch.run()
    assert [str(a) for a in answers] == ["the engine was too busy to answer by the deadline"]


def test_a_full_queue_refuses_a_question_and_its_next_turn(tiny):
    batch, answers = Batch(tiny), []
    acts = (wire.Act("freeze", UNIT), wire.Act("thaw", UNIT, 0.0, 30))
    Foresight(request(*acts), batch, answers.append).start()
    for _ in range(MAX_QUEUE - 1):
        batch.add(Job(np.ones((1, 40)), 1.0, FOREVER, lambda _: None))
    with pytest.raises(EngineError, match="try again"):
        Foresight(request(*acts), batch, answers.append).start()

    def refill(_):
        while len(batch._queue) < MAX_QUEUE:
            batch.add(Job(np.ones((1, 40)), 1.0, FOREVER, lambda _: None))

    batch._queue[1] = Job(np.ones((1, 40)), 1.0, FOREVER, refill)
    batch._queue.insert(0, batch._queue.pop(1))
    while batch.wait_ns() is not None:
        batch.run()
    assert len(answers) == 1
    assert isinstance(answers[0], JepadError)
    assert "try again" in str(answers[0])


@pytest.mark.parametrize("kind", ["memory.high", "memory.low", "cpu.weight", "freeze", "thaw"])
@pytest.mark.parametrize("values", ["zeros", "huge", "alternating", "still"])
def test_every_action_on_every_series_is_finite(tiny, kind, values):
    made = {
        "zeros": np.zeros((128, len(NAMES))),
        "huge": np.full((128, len(NAMES)), 1e18),
        "alternating": np.where(np.arange(128)[:, None] % 2, 1e17, 0.0) * np.ones(len(NAMES)),
        "still": np.tile(LEVELS, (128, 1)),
    }[values]
    value = {"memory.high": 1e6, "memory.low": 1e9, "cpu.weight": 10.0}.get(kind, 0.0)
    acts = (wire.Act(kind, UNIT, value), wire.Act("drop_caches", "", 0.0, 64))
    answer = told(Batch(tiny), request(*acts, values=made))
    for name in ("without", "acted", "difference"):
        got = rows(answer, name)
        assert np.isfinite(got).all()
        assert (np.diff(got, axis=-1) >= 0).all()


def test_a_real_engine_answers_over_its_socket(places, telemetry, engine, tmp_path):
    engine("--model", graph.write(tmp_path))
    opened(places, "predictions.machine")

    async def calls(client):
        got = await client.foresee(
            window(), NAMES, 1.0, [wire.Act("freeze", UNIT)], timeout=PATIENCE_S
        )
        assert (wire.doubles(got.difference)[CPU, :, 2] < -3e5).all()
        for names, acts, kind in (
            (NAMES[1:], [wire.Act("freeze", UNIT)], SettingError),
            (NAMES, [wire.Act("freeze", "y")], NotFound),
            (NAMES, [wire.Act("power.profile")], NotReady),
        ):
            with pytest.raises(kind):
                await client.foresee(window(), names, 1.0, acts, timeout=PATIENCE_S)
        answers = await asyncio.gather(
            *(
                client.foresee(
                    window(),
                    NAMES,
                    1.0,
                    [wire.Act("freeze", UNIT), wire.Act("thaw", UNIT, 0.0, 30)],
                    timeout=PATIENCE_S,
                )
                for _ in range(12)
            )
        )
        assert len({a.horizons_s for a in answers}) == 1

    ask(places, calls)
