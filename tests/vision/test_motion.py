"""Motion: noise and light are none, things are, and the gate opens when it must."""

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.vision.motion import Motions, Sensing, brightness, pooled
from tests.vision.views import SIZE, View

BOX = (32, 32, 40, 24)


def seen(frames, how=None, step_s=0.25):
    motions = Motions(frames[0].shape[0], how or Sensing())
    return [motions.see(frame, n * step_s) for n, frame in enumerate(frames)]


def moved(n, by=6):
    top, left, height, width = BOX
    return top, left + n * by, height, width


def test_the_first_frame_opens_the_gate_and_says_nothing():
    (first,) = seen([View().frame()])
    assert (first.gate, first.why) == (True, "first")
    assert first.score.shape == (SIZE // 16, SIZE // 16)
    assert not first.score.any()
    assert not first.moving.any()
    assert not first.flow.any()


@pytest.mark.parametrize("noise", [0.0, 2.0, 12.0])
def test_noise_is_no_motion(noise):
    view = View(noise=noise)
    found = seen([view.frame() for _ in range(60)])
    late = found[20:]
    assert not any(m.gate for m in late)
    assert max(m.changed for m in late) == 0
    assert max(float(m.foreground.max()) for m in late) < 0.2


def test_what_moves_is_told_where_it_is():
    view = View()
    still = [view.frame() for _ in range(8)]
    found = seen(still + [view.frame(moved(n)) for n in range(6)])
    for motion in found[8:]:
        assert (motion.gate, motion.why) == (True, "moving")
        assert motion.moving[2:4, 2:6].any()
        assert not motion.moving[6:].any()
        assert not motion.moving[:, 7:].any()
    assert found[-1].foreground[2:4, 4].min() > 0.9
    assert found[-1].peak > 20


def test_flow_follows_a_textured_thing():
    view, thing = View(noise=0.5), np.random.default_rng(5).uniform(0, 255, (48, 48, 3))
    frames = []
    for n in range(6):
        frame = view.frame()
        frame[32:80, 16 + 4 * n : 64 + 4 * n] = thing.repeat(1, 0)
        frames.append(frame)
    motion = seen(frames)[-1]
    inside = motion.flow[3, 3:4]
    assert np.allclose(inside, [0, 1], atol=0.5)  # a block of four pixels to the right
    assert not motion.flow[~motion.moving].any()


@pytest.mark.parametrize("light", [0.4, 0.8, 1.3])
def test_light_that_changes_is_no_thing(light):
    view = View()
    before = [view.frame() for _ in range(12)]
    after = [view.frame(light=light) for _ in range(12)]
    found = seen(before + after)
    assert found[12].light or found[12].flood
    assert found[12].gate
    assert max(float(m.foreground.max()) for m in found[12:]) < 0.3
    assert not any(m.gate for m in found[16:])


def test_a_cut_to_another_scene_is_a_flood():
    one, other = View(0, harsh=True), View(9, harsh=True)
    found = seen([one.frame() for _ in range(8)] + [other.frame() for _ in range(8)])
    assert found[8].flood
    assert found[8].gate
    assert not any(m.flood for m in found[9:])
    assert found[-1].foreground.max() < 0.2


def test_a_trembling_camera_has_no_foreground():
    view, draws = View(), np.random.default_rng(2)
    frames = [view.frame(shift=tuple(draws.integers(-1, 2, 2))) for _ in range(30)]
    assert max(float(m.foreground.max()) for m in seen(frames)) < 0.5


def test_who_stands_still_is_foreground_until_absorbed():
    view, how = View(), Sensing(absorb_s=10)
    found = seen([view.frame() for _ in range(8)] + [view.frame(BOX) for _ in range(60)], how)
    assert found[20].foreground[2:4, 2].min() > 0.9
    assert not found[20].gate
    assert found[20].why == "still"
    assert found[-1].foreground.max() < 0.2


def test_the_gate_is_forced_now_and_then():
    view = View()
    found = seen([view.frame() for _ in range(41)], Sensing(refresh_s=2.5))
    at = [n for n, m in enumerate(found) if m.why == "refresh"]
    assert at == [10, 20, 30, 40]
    assert all(m.gate for m in seen([view.frame()] * 4, Sensing(refresh_s=0)))


def test_slow_changes_add_up_to_an_open_gate():
    view = View(noise=0.5)
    frames = [view.frame() for _ in range(8)]
    for n in range(24):
        frame = view.frame()
        frame[32:64, 32:64] += np.uint8(n)  # a level a frame: below the limit between two
        frames.append(frame)
    found = seen(frames)
    assert not any(m.changed for m in found)
    assert sum(m.why == "moving" for m in found) >= 3


def test_the_same_frames_give_the_same_numbers():
    frames = [View(3).frame(moved(n)) for n in range(6)]
    for one, other in zip(seen(frames), seen(frames), strict=True):
        assert np.array_equal(one.score, other.score)
        assert np.array_equal(one.flow, other.flow)
        assert np.array_equal(one.foreground, other.foreground)


def test_after_reset_the_next_frame_is_the_first():
    view, motions = View(), Motions(SIZE)
    motions.see(view.frame(), 5.0)
    motions.reset()
    assert motions.see(view.frame(), 0.0).why == "first"


def test_frames_are_not_changed():
    frame = View().frame()
    kept = frame.copy()
    motions = Motions(SIZE)
    frame.setflags(write=False)
    motions.see(frame, 0.0)
    motions.see(frame, 1.0)
    assert np.array_equal(frame, kept)


@pytest.mark.parametrize("size", [0, 16, 100, 2048, -32])
def test_a_size_that_does_not_divide_is_refused(size):
    with pytest.raises(SettingError, match="multiple of 16"):
        Motions(size)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((64, 64, 3), np.float32),
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 48, 3), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
    ],
)
def test_frames_of_another_kind_are_refused(frame):
    with pytest.raises(SettingError, match="a frame of"):
        Motions(64).see(frame, 0.0)


@pytest.mark.parametrize("t_s", [0.5, float("nan"), float("inf")])
def test_time_goes_forward(t_s):
    motions = Motions(64)
    frame = np.zeros((64, 64, 3), np.uint8)
    motions.see(frame, 1.0)
    with pytest.raises(SettingError, match="a frame of"):
        motions.see(frame, t_s)
    assert motions.see(frame, 1.0).why == "still"  # two of one moment are none


@pytest.mark.parametrize(
    "wrong",
    [{"changed": 0}, {"background_s": 0}, {"flood": 0}, {"flood": 2}, {"refresh_s": -1},
     {"noise": float("nan")}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SettingError, match="sensing wants"):
        Sensing(**wrong)


def test_brightness_is_what_most_of_the_view_says():
    before = np.full((30, 30), 100, np.float32)
    now = before * 1.5
    now[:10] = 0  # a third is hidden
    assert brightness(now, before) == pytest.approx(158 / 108)
    assert brightness(before * 1.001, before) == 1.0


def test_pooled_is_a_mean():
    plane = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert pooled(plane, 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]
