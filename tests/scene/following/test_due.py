"""Which clips are encoded, told from motion and time alone."""

import pytest

from jepad.scene.following.due import Due

SECOND = 1_000_000_000


def verdicts(due, moves, fps=4):
    """Of each frame; what is worth it is encoded."""
    out = []
    for i, moved in enumerate(moves):
        t_ns = i * SECOND // fps
        out.append(due.frame(bool(moved), t_ns, i + 1))
        if out[-1] not in ("", "still"):
            due.encoded(t_ns)
    return out


def test_each_step_of_a_moving_scene():
    assert verdicts(Due(1, 2, 4, 30), [1] * 6) == ["", "moved"] * 3
    assert verdicts(Due(1, 1, 1, 30), [1] * 3) == ["moved"] * 3


def test_every_so_many_steps():
    found = verdicts(Due(3, 2, 4, 30), [1] * 14)
    assert [i for i, each in enumerate(found) if each] == [1, 7, 13]


def test_a_still_scene_is_encoded_once_whole_and_then_rarely():
    found = verdicts(Due(1, 2, 4, 5), [1] + [0] * 60)
    said = {i: each for i, each in enumerate(found) if each not in ("", "still")}
    assert said == {1: "moved", 5: "settled", 25: "refresh", 45: "refresh"}


def test_a_camera_whose_clock_stands_still_is_looked_at_again():
    now = [0]
    due = Due(1, 1, 1, 5, lambda: now[0])
    assert due.frame(True, 7, 1) == "moved"
    due.encoded(7)
    assert due.frame(False, 7, 2) == "settled"
    due.encoded(7)
    assert due.frame(False, 7, 3) == "still"
    now[0] = 6 * SECOND
    assert due.frame(False, 7, 4) == "refresh"


def test_motion_in_any_frame_since_the_last_clip_counts():
    due = Due(2, 2, 2, 1e6)
    found = verdicts(due, [1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    assert found[1] == "moved"
    assert found[5] == "settled"
    assert found[9] == "moved"  # frame 6 did
    assert found[13] == "still"


def test_a_scene_is_quiet_until_a_clip_is_missed():
    due = Due(1, 1, 1, 30)
    assert not due.quiet
    due.encoded(0)
    assert due.quiet
    due.frame(True, SECOND, 1)
    due.behind()
    assert not due.quiet


@pytest.mark.parametrize("unit", [1, 2])
def test_after_a_gap_all_begins_anew(unit):
    due = Due(1, unit, 4, 1e6)
    assert verdicts(due, [0] * 8)[-1] == "still"
    due.restart()
    assert verdicts(due, [0] * unit)[-1] == "moved"
