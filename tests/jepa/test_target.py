"""The norm of targets, and what follows what."""

import torch

from jepad.jepa.target import follow, normed


def test_levels_are_normed_one_by_one():
    tokens = torch.randn(2, 3, 24) * 5
    halves = normed(tokens, levels=2)
    torch.testing.assert_close(halves, torch.cat([normed(x) for x in tokens.chunk(2, -1)], -1))
    assert not torch.allclose(halves, normed(tokens), atol=1e-2)


def test_following_moves_by_what_is_left():
    slow, fast = (torch.nn.Linear(2, 2) for _ in range(2))
    wanted = 0.9 * slow.weight.detach() + 0.1 * fast.weight.detach()
    follow(slow, fast, 0.9)
    torch.testing.assert_close(slow.weight.detach(), wanted)
