"""Presence: who walks in arrives once, who sits stays, and nobody is made of light or noise."""

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.heads.sight.presence import Presence, PresenceLimits
from jepad.vision.motion import Motions
from tests.vision.views import SIZE, View

STEP_S = 0.25
TALL, WIDE = 60, 24


def told(frames):
    motions, presence = Motions(SIZE), Presence()
    return [presence.see(motions.see(f, n * STEP_S), n * STEP_S) for n, f in enumerate(frames)]


def events(somebodies):
    return [(n, s.event) for n, s in enumerate(somebodies) if s.event]


def person(left):
    return (40, left, TALL, WIDE)


def empty(view, count):
    return [view.frame() for _ in range(count)]


def walk(view, start, stop, by=8):
    return [view.frame(person(x)) for x in range(start, stop, by)]


def test_somebody_comes_stands_and_goes():
    view = View()
    frames = empty(view, 12) + walk(view, -WIDE, 60)
    frames += [view.frame(person(60)) for _ in range(40)]
    came, went = 12, len(frames)
    frames += walk(view, 60, SIZE + 8) + empty(view, 20)
    found = told(frames)
    (arrived, first), (left, second) = events(found)
    assert (first, second) == ("arrived", "left")
    assert came < arrived <= came + 6
    assert left >= went + 6
    assert all(s.present for s in found[arrived:left])
    assert not any(s.present for s in [*found[:arrived], *found[left:]])
    assert found[arrived].score == 1


def test_each_visit_is_one():
    view = View()
    frames = []
    for _ in range(3):
        frames += empty(view, 16) + walk(view, -WIDE, SIZE + 8)
    kinds = [event for _, event in events(told(frames + empty(view, 16)))]
    assert kinds == ["arrived", "left"] * 3


def test_nobody_is_made_of_noise():
    view = View(noise=10)
    assert not events(told(empty(view, 120)))


@pytest.mark.parametrize("low", [0.3, 0.7])
def test_nobody_is_made_of_a_lamp(low):
    view = View()
    frames = [view.frame(light=1.0 if n // 12 % 2 else low) for n in range(96)]
    assert not events(told(frames))


def test_nobody_is_made_of_a_lamp_that_flickers_in_its_place():
    view = View()
    frames = []
    for n in range(80):
        frame = view.frame()
        frame[40:80, 40:80] = 255 if n % 3 == 0 else 30
        frames.append(frame)
    assert not events(told(empty(view, 8) + frames))


def test_nobody_is_made_of_a_trembling_camera():
    view, draws = View(), np.random.default_rng(1)
    frames = [view.frame(shift=tuple(draws.integers(-1, 2, 2))) for _ in range(80)]
    assert not events(told(frames))


def test_what_is_too_small_is_nobody():
    view = View()
    frames = empty(view, 8) + [view.frame((60, x, 8, 8)) for x in range(0, 120, 6)]
    assert not events(told(frames))


def test_one_glimpse_is_not_enough():
    view = View()
    assert not events(told(empty(view, 8) + walk(view, 0, 16) + empty(view, 20)))


def test_light_that_fails_is_no_leaving():
    view = View()
    frames = empty(view, 8) + walk(view, -WIDE, 60)
    frames += [view.frame(person(60), light=0.5) for _ in range(8)]
    frames += [view.frame(person(60)) for _ in range(8)]
    assert [event for _, event in events(told(frames))] == ["arrived"]


def test_after_reset_nobody_is_there():
    view, motions, presence = View(), Motions(SIZE), Presence()
    frames = empty(view, 8) + walk(view, -WIDE, 60)
    for n, frame in enumerate(frames):
        presence.see(motions.see(frame, n), n)
    presence.reset()
    assert not presence.present


@pytest.mark.parametrize(
    "wrong", [{"leave": 2}, {"leave": 0}, {"reach": 0}, {"dwell_s": -1}, {"absent_s": float("inf")}]
)
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SettingError, match="presence wants"):
        PresenceLimits(**wrong)
