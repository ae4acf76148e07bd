"""Parts of a plan are as large as others' patience allows."""

import numpy as np
import pytest

from jepad.planning.bounds import read
from jepad.scene import wire
from jepad.scene.model import Model
from jepad.scene.serving import plan
from jepad.scene.serving.plan import AIM_S, Pace, Quest, planned
from jepad.scene.serving.work import Work
from tests.scene.fakes import Counting


def settled(seconds, first=1, most=64):
    """How many at once in the end, if one takes so long."""
    pace = Pace(first, most)
    for _ in range(10):
        pace.took(pace.now, pace.now * seconds)
    return pace.now


@pytest.mark.parametrize(
    ("seconds", "wanted"), [(AIM_S * 9, 1), (AIM_S / 5, 4), (AIM_S / 20, 16), (1e-9, 64)]
)
@pytest.mark.parametrize("first", [1, 64])
def test_as_many_as_take_so_long(seconds, wanted, first):
    assert settled(seconds, first) == wanted


def test_never_none_nor_more_than_fit():
    assert settled(1e9) == 1
    assert Pace(0, 0).now == 1
    assert settled(1e-9, 50, 50) == 32


def test_the_rest_of_a_round_says_nothing_of_more():
    pace = Pace(32, 64)
    pace.took(2, AIM_S / 10)
    assert pace.now == 32
    pace.took(2, AIM_S * 2)
    assert pace.now == 1


def test_a_slow_model_is_asked_of_few_at_once(model, clip, monkeypatch):
    """Every sample takes half of the aim by a clock of ours."""
    installed, clock, sizes = model("vitg-256-ac"), [0.0], []

    class Slow(Counting):
        def act(self, now, action, keep):
            sizes.append(len(action))
            clock[0] += len(action) * AIM_S / 2
            return super().act(now, action, keep)

    monkeypatch.setattr(plan, "monotonic", lambda: clock[0])
    monkeypatch.setattr(plan, "FIRST_FLOP", 1e12)
    backend, shape = Slow(manifest=installed.manifest), Model(installed.manifest)
    tokens = np.zeros((shape.frame.tokens, shape.encoder.width), np.float32)
    search = wire.Search(samples=80, elites=4, iterations=2, horizon=1)
    sought = Quest(clip(1), tokens, np.zeros(7, np.float32), read("droid"), search)
    steps, done, sent = planned(Work(shape, "none"), sought, lambda n, _: done.append(n)), [], None
    monkeypatch.setattr(Work, "last", lambda *_: (yield from _given(tokens)))
    while not done or done[-1] < 2:
        sent = steps.send(sent).run(backend)
    assert sum(sizes) == 161  # and the plan itself
    assert sizes[0] == plan.MOST_ON_CPU
    assert set(sizes[1:]) <= {1, 2}


def _given(tokens):
    return tokens
    yield
