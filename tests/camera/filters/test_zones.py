"""Zones cover what they touch."""

import numpy as np
import pytest

from jepad.camera.filters.picture import FILL
from jepad.camera.filters.zones import Zones, masked
from jepad.errors import SettingError
from tests.camera.filters.shots import noise, shot

BOX = ((0.25, 0.25), (0.5, 0.75))


def test_a_rectangle_is_filled_and_a_pixel_around_it():
    mask = masked([BOX], 64)
    assert mask[16:48, 16:32].all()
    mask[15:50, 15:34] = False
    assert not mask.any()


def test_a_rectangle_is_the_same_from_any_two_corners():
    turned = [((0.5, 0.75), (0.25, 0.25)), ((0.5, 0.25), (0.25, 0.75))]
    for zone in turned:
        assert (masked([zone], 64) == masked([BOX], 64)).all()


def test_a_triangle_is_filled_and_nothing_far_from_it():
    mask = masked([((0, 0), (1, 0), (0, 1))], 100)
    row, column = np.mgrid[:100, :100]
    assert mask[row + column < 99].all()
    assert not mask[row + column > 104].any()


def test_what_crosses_itself_is_filled_where_it_winds_twice():
    star = tuple(
        (0.5 + 0.45 * np.sin(k * 4 * np.pi / 5), 0.5 - 0.45 * np.cos(k * 4 * np.pi / 5))
        for k in range(5)
    )
    assert masked([star], 64)[30:34, 30:34].all()


def test_a_zone_thinner_than_a_pixel_is_drawn():
    mask = masked([((0.0, 0.5), (1.0, 0.5001))], 64)
    assert mask[32].all()


@pytest.mark.parametrize("seed", range(5))
def test_no_point_within_a_zone_is_left(seed):
    """Against shapes drawn apart: random points of a triangle."""
    draws = np.random.default_rng(seed)
    corners = draws.random((3, 2))
    weights = draws.dirichlet((1, 1, 1), 2000)
    points = np.clip((weights @ corners * 64).astype(int), 0, 63)
    mask = masked([tuple(map(tuple, corners))], 64)
    assert mask[points[:, 1], points[:, 0]].all()


def test_the_whole_square():
    assert masked([((0, 0), (1, 1))], 64).all()


def test_zones_fill_by_one_colour_and_leave_the_rest():
    picture = noise()
    before = picture.copy()
    zones = Zones([BOX], 64)
    got = zones(shot(picture), picture)
    mask = masked([BOX], 64)
    assert (got[mask] == FILL).all()
    assert (got[~mask] == before[~mask]).all()
    assert zones.name == "zones (1)"


@pytest.mark.parametrize("zone", [((0.1, 0.1), (0.1, 0.9)), ((0.1, 0.2), (0.5, 0.2), (0.9, 0.2))])
def test_a_zone_of_no_area_is_refused(zone):
    with pytest.raises(SettingError, match="covers nothing"):
        masked([zone], 64)


def test_no_zone_is_refused():
    with pytest.raises(SettingError, match="no zone"):
        Zones([], 64)
