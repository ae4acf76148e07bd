"""The terms of the losses: what counts how much, and what is imagined."""

import pytest
import torch

from jepad.errors import SettingError
from jepad.jepa.target import normed
from jepad.jepa.video.action import Given
from jepad.jepa.video.objective import (
    Seen,
    action_losses,
    chosen,
    imagine,
    masked_losses,
    nearness,
)
from jepad.vision.grid import Grid
from tests.jepa.video.test_action import small


def acted(b=2, t=3, frame=6):
    torch.manual_seed(4)
    tokens = normed(torch.randn(b, t * frame, 24))
    return tokens, Given(torch.randn(b, t - 1, 2), torch.randn(b, t, 3))


def test_the_context_term_comes_in_slowly():
    assert [Seen().weight(i) for i in (0, 15_000, 22_500, 30_000, 90_000)] == [0, 0, 0.25, 0.5, 0.5]
    assert Seen(0.5, 0, 0, near=False).weight(0) == 0.5


def test_what_was_seen_near_what_was_not_counts_more():
    weights = nearness(Grid(2, 2, 5), torch.tensor([[0, 4, 14]]), torch.tensor([[1, 2]]))
    assert weights.tolist() == [pytest.approx([1.0, 2**-0.5, 5**-0.25])]


def test_each_mask_set_counts_the_same():
    target = torch.zeros(2, 8, 4)
    indices = [torch.tensor([[1, 4, 5, 6, 7]] * 2), torch.tensor([[0, 2, 4, 6]] * 2)]
    said = [torch.ones(2, 5, 4), torch.full((2, 4, 4), 3.0)]
    assert masked_losses(said, target, indices).tolist() == [1.0, 3.0]


def test_imagination_begins_as_it_is_taught():
    predictor = small()
    tokens, given = acted()
    imagined = imagine(predictor, tokens, given)
    torch.testing.assert_close(imagined.alone[:, :6], imagined.taught[:, :6])
    assert not torch.allclose(imagined.alone[:, 6:], imagined.taught[:, 6:])


@pytest.mark.parametrize("steps", [0, 3])
def test_imagination_ends_with_the_actions(steps):
    with pytest.raises(SettingError, match="1 to 2"):
        imagine(small(), *acted(), steps)


def test_weights_are_of_tokens():
    target, index = torch.zeros(1, 4, 2), [torch.tensor([[0, 2]])]
    said = [torch.tensor([[[1.0, 3.0], [4.0, 4.0]]])]
    assert masked_losses(said, target, index).tolist() == [3.0]
    assert masked_losses(said, target, index, [torch.tensor([[1.0, 0.5]])]).tolist() == [2.0]


def test_tokens_are_chosen_row_by_row():
    tokens = torch.arange(12.0).reshape(2, 3, 2)
    found = chosen(tokens, torch.tensor([[2, 0], [1, 1]]))
    assert found.tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]


def test_a_right_imagination_costs_nothing():
    tokens, given = acted()
    imagined = imagine(small(), tokens, given)
    right = imagined._replace(taught=tokens[:, 6:], alone=tokens[:, 6:])
    assert [float(x) for x in action_losses(right, tokens)] == [0, 0]
    assert all(x > 0 for x in action_losses(imagined, tokens))
