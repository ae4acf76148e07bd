"""Masks as Meta draws them, and what can't be drawn."""

import pytest
import torch

from bench import conformance, golden
from jepad.errors import SettingError
from jepad.jepa.video.masks import IMAGE, VIDEO, Blocks, block_size, draw
from jepad.vision.grid import Grid

GRID = Grid(8, 16, 16)


@pytest.mark.parametrize("case", ["v20_masks_grid4", "v20_masks_grid16"])
def test_the_published_draw_number_for_number(case):
    assert [
        row for row in conformance.compared(golden.load(golden.FIXTURES, case)) if not row.ok
    ] == []


def test_another_seed_is_noticed():
    case = golden.load(golden.FIXTURES, "v20_masks_grid4")
    case.config["torch_seed"] += 1
    case.about["config"]["torch_seed"] += 1
    assert [row for row in conformance.compared(case) if not row.ok]


@pytest.mark.parametrize("blocks", [*VIDEO, *IMAGE])
def test_what_is_seen_is_never_asked_for(blocks):
    for i in range(5):
        pair = draw(blocks, GRID, 4, i)
        for seen, asked in zip(*pair, strict=True):
            assert not set(seen.tolist()) & set(asked.tolist())
            assert seen.tolist() == sorted(set(seen.tolist()))
            assert asked.tolist() == sorted(set(asked.tolist()))
        assert pair.context.dtype == torch.int64
        assert pair.context.max() < GRID.tokens


def test_blocks_reach_through_all_of_time():
    pair = draw(Blocks(1, (0.2, 0.2)), GRID, 1, 0)
    places = pair.targets[0] % GRID.frame
    assert len(places) == GRID.steps * len(set(places.tolist()))


def test_shorter_blocks_on_request():
    size = block_size(Blocks(1, (0.2, 0.2), (0.5, 0.5)), GRID, torch.Generator())
    assert size.steps == 4


def test_the_iteration_alone_decides_the_size():
    def sizes(iteration, seed):
        places = torch.Generator().manual_seed(seed)
        return draw(Blocks(1, (0.1, 0.6)), GRID, 1, iteration, places).targets.shape

    assert sizes(3, 0) == sizes(3, 1)
    assert sizes(3, 0) != sizes(4, 0)


def test_blocks_that_hide_everything_are_refused():
    with pytest.raises(SettingError, match="hide the whole grid"):
        draw(Blocks(1, (1.0, 1.0), aspect=(1.0, 1.0)), GRID, 2, 0)


def test_blocks_of_nothing_are_refused():
    with pytest.raises(SettingError, match="nothing to hide"):
        draw(Blocks(1, (0.01, 0.01)), Grid(2, 2, 2), 1, 0)


def test_a_batch_of_none_is_refused():
    with pytest.raises(SettingError, match="at least 1"):
        draw(VIDEO[0], GRID, 0, 0)
