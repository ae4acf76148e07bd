"""Flow: shifts come out as they are, flat ground and cells nobody asked for give none."""

import numpy as np
import pytest

from jepad.vision import flow

CELLS = 6
SIDE = CELLS * flow.CELL
ALL = np.ones((CELLS, CELLS), bool)


def plane(seed=0):
    """Smooth enough to have a place between pixels."""
    noise = np.random.default_rng(seed).uniform(0, 255, (SIDE + 20, SIDE + 20))
    kernel = np.array([1, 2, 1]) / 4
    for axis in (0, 1):
        noise = np.apply_along_axis(np.convolve, axis, noise, kernel, mode="same")
    return noise.astype(np.float32)


def cut(whole, down, right):
    return whole[10 - down : 10 - down + SIDE, 10 - right : 10 - right + SIDE]


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, 0), (0, -3), (-4, 4), (1, 1)])
def test_a_shift_is_found_everywhere_inside(down, right):
    whole = plane()
    moved = flow.flow(cut(whole, 0, 0), cut(whole, down, right), ALL)
    inside = moved[2:-2, 2:-2]
    assert moved.dtype == np.float32
    assert np.abs(inside - [down, right]).max() < 0.51


def test_half_a_pixel_is_found():
    whole = plane()
    half = (cut(whole, 0, 2) + cut(whole, 0, 1)) / 2
    moved = flow.flow(cut(whole, 0, 0), half, ALL)[2:-2, 2:-2]
    assert abs(moved[..., 1].mean() - 1.5) < 0.35
    assert abs(moved[..., 0].mean()) < 0.2


def test_cells_nobody_asked_for_have_none():
    whole = plane()
    where = np.zeros_like(ALL)
    where[3, 2] = True
    moved = flow.flow(cut(whole, 0, 0), cut(whole, 0, 2), where)
    assert np.count_nonzero(np.abs(moved).sum(2)) == 1
    assert not flow.flow(cut(whole, 0, 0), cut(whole, 0, 2), ~ALL).any()


def test_flat_ground_and_noise_stay():
    flat = np.full((SIDE, SIDE), 90, np.float32)
    noisy = flat + np.random.default_rng(1).normal(0, 0.3, flat.shape).astype(np.float32)
    assert not flow.flow(flat, flat + 1, ALL).any()
    assert np.abs(flow.flow(flat, noisy, ALL)).max() <= 0.5


def test_the_same_frames_give_the_same_bits():
    whole = plane()
    given = cut(whole, 0, 0), cut(whole, 1, 3), ALL
    assert np.array_equal(flow.flow(*given), flow.flow(*given))


def test_speeds_are_shares():
    moved = np.zeros((4, 4, 2), np.float32)
    moved[0, 0] = (3, 4)
    moved[1] = (0.5, 0)
    shares = flow.speeds(moved)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] == pytest.approx(11 / 16)
    assert shares[1] == pytest.approx(4 / 16)
    assert shares[-1] == pytest.approx(1 / 16)
