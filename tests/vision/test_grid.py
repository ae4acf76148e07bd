"""Token order, rotary tables in both layouts, the half-split form that equals the paired one."""

import numpy as np
import pytest

from jepad.errors import SettingError
from jepad.vision.grid import Grid, Rope, halves_order, positions, tables

GRID = Grid(3, 4, 5)


def turned(x, cos, sin):
    """Entries 2i and 2i + 1 together."""
    other = np.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)
    return x * cos + other * sin


def test_tokens_run_over_columns_then_rows_then_time():
    places = positions(GRID)
    assert places.shape == (60, 3)
    assert places.dtype == np.float64
    wanted = [(t, h, w) for t in range(3) for h in range(4) for w in range(5)]
    np.testing.assert_array_equal(places, wanted)


def test_kept_tokens_keep_their_places():
    keep = np.array([[59, 0], [7, 7]])
    np.testing.assert_array_equal(positions(GRID, keep), positions(GRID)[keep])


def test_a_rescaled_grid_spans_what_was_trained_on():
    places = positions(Grid(30, 24, 7), rescale=True)
    assert places[:, 1].max() == pytest.approx(15)
    assert places[:, 2].max() == pytest.approx(15)
    assert places[:, 0].max() == 29
    np.testing.assert_allclose(
        positions(Grid(1, 16, 16), rescale=True), positions(Grid(1, 16, 16)), rtol=1e-15
    )


def test_a_single_row_is_rescaled_to_place_zero():
    places = positions(Grid(2, 1, 3), rescale=True)
    assert (places[:, 1] == 0).all()
    np.testing.assert_array_equal(places[:3, 2], [0, 7.5, 15])


@pytest.mark.parametrize("keep", [[-1], [60], [0.5], [True]])
def test_indices_outside_the_grid_are_refused(keep):
    with pytest.raises(SettingError):
        positions(GRID, keep)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, -2)])
def test_an_empty_grid_is_refused(sizes):
    with pytest.raises(SettingError):
        Grid(*sizes)


def test_the_layout_is_mandatory_and_one_of_two():
    with pytest.raises(TypeError):
        Rope(head=32)
    with pytest.raises(SettingError):
        Rope("halves", 32)


@pytest.mark.parametrize("head", [4, 33])
def test_a_head_must_be_even_and_hold_three_axes(head):
    with pytest.raises(SettingError):
        Rope("tiled", head)


@pytest.mark.parametrize(("head", "axis"), [(32, 10), (64, 20), (80, 26), (88, 28), (40, 12)])
def test_an_axis_takes_an_even_third_and_the_rest_passes(head, axis):
    rope = Rope("tiled", head)
    assert rope.axis == axis
    cos, sin = tables(rope, positions(GRID))
    assert cos.shape == sin.shape == (60, head)
    assert cos.dtype == sin.dtype == np.float32
    assert (cos[:, 3 * axis :] == 1).all()
    assert (sin[:, 3 * axis :] == 0).all()


def test_the_two_layouts_place_the_same_frequencies_differently():
    place = np.array([[2.0, 3.0, 5.0]])
    frequency = 10000.0 ** -(np.arange(5) / 5)
    tiled, _ = tables(Rope("tiled", 32), place)
    woven, _ = tables(Rope("interleaved", 32), place)
    np.testing.assert_allclose(tiled[0, 10:20], np.cos(3 * np.tile(frequency, 2)), rtol=1e-6)
    np.testing.assert_allclose(woven[0, 10:20], np.cos(3 * np.repeat(frequency, 2)), rtol=1e-6)
    assert np.abs(tiled - woven).max() > 0.5


@pytest.mark.parametrize("layout", ["tiled", "interleaved"])
@pytest.mark.parametrize("head", [32, 40, 88])
def test_the_half_split_form_gives_the_same_scores(layout, head):
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 60, head))
    rope, places, order = Rope(layout, head), positions(GRID), halves_order(head)
    cos, sin = tables(rope, places)
    paired = turned(q, cos, sin) @ turned(k, cos, sin).T
    cos, sin = tables(rope, places, halves=True)

    def halved(x):
        low, high = np.split(x[:, order], 2, -1)
        return x[:, order] * cos + np.concatenate([-high, low], -1) * sin

    np.testing.assert_allclose(halved(q) @ halved(k).T, paired, atol=1e-12)


def test_tables_take_batches_and_fractions_and_refuse_other_axes():
    rope = Rope("tiled", 32)
    assert tables(rope, np.full((2, 7, 3), 0.5))[0].shape == (2, 7, 32)
    with pytest.raises(SettingError):
        tables(rope, np.zeros((7, 2)))
