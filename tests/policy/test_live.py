"""One camera in words: its state, presence and surprise without flicker."""

import math

import pytest

from jepad.policy.live import Live
from tests.policy.looking import SEEN, Process


def live(**changes):
    process = Process("a", None, "")
    process.state, process.seen = "running", SEEN
    process.sees(**changes)
    return Live("a", "file:/a", "file:/a", allowed=True, process=process)


@pytest.mark.parametrize("state", ["starting", "running", "waiting", "ended", "failed"])
def test_its_state_is_what_its_process_says(state):
    assert live(state=state).state == state


def test_while_the_process_is_away_it_starts_or_has_failed():
    camera = live()
    camera.process.state, camera.process.reason = "restarting", "exit code 1"
    assert (camera.state, camera.reason) == ("starting", "exit code 1")
    camera.process.state = "failed"
    assert camera.state == "failed"
    assert camera.streams() == []


def test_a_filter_that_fails_closed_is_a_reason():
    assert live(filter_state="no face model").reason == "no face model"
    assert live(reason="late", filter_state="no face model").reason == "late; no face model"


def test_presence_is_told_once_and_ends_with_the_camera():
    camera = live(present=True)
    assert [camera.update(), camera.update()] == ["arrived", None]
    camera.process.sees(state="ended", present=True)
    assert [camera.update(), camera.update()] == ["left", None]


def test_surprise_moves_in_steps():
    camera = live(surprise=1.0)
    told = []
    for value, surprising in ((1.0, 0), (2.5, 0), (3.5, 0), (4.9, 0), (10, 1), (12, 1), (12, 0)):
        camera.process.sees(surprise=value, surprising=bool(surprising))
        camera.update()
        told.append(camera.surprise)
    assert told == [1.0, 1.0, 3.5, 3.5, 10, 10, 12]
    camera.process.sees(state="waiting")
    camera.update()
    assert math.isnan(camera.surprise)


def test_numbers_hold_counts_and_the_rest():
    numbers = live().numbers()
    assert numbers["published"] == 3
    assert numbers["length_s"] == 9
    assert all(isinstance(value, float) for value in numbers.values())
    assert Live("a", "x", "x").numbers() == {}
