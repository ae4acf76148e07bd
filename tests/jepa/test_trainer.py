"""Training moves, can be interrupted, and the losses say what they should."""

import pytest
import torch

from jepad.errors import ModelError, SettingError
from jepad.heads.prepare import CONTEXT
from jepad.jepa.config import Schedule, Shape
from jepad.jepa.losses import event_loss, latent_loss, quantile_loss
from jepad.jepa.trainer import Batch, Trainer
from tests.jepa.test_world import SMALL, feeds


def batch(seed=0, shape=SMALL):
    torch.manual_seed(seed)
    f = feeds(4, 3, shape)
    steps = f.anchors[..., 1] + 0.1 * torch.randn(4, 3, 4)
    ones = torch.ones(4, 3, 4)
    return Batch(f, feeds(4, 3, shape), seed % 4, steps, ones, (steps > 0).float(), ones)


def test_the_loss_falls():
    trainer = Trainer(SMALL, Schedule(steps=30, warmup=1, peak=3e-3))
    seen = [trainer.learn(batch())["quantile"] for _ in range(30)]
    assert seen[-1] < 0.8 * seen[0]


def test_the_same_seed_gives_the_same_model():
    a, b = (Trainer(SMALL, Schedule(seed=3)) for _ in range(2))
    for t in (a, b):
        t.learn(batch())
    for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_resume_equals_uninterrupted(tmp_path):
    whole = Trainer(SMALL, Schedule(steps=6))
    for i in range(6):
        whole.learn(batch(i))
    first = Trainer(SMALL, Schedule(steps=6))
    for i in range(3):
        first.learn(batch(i))
    first.save(str(tmp_path / "c.pt"), beside="mine")
    second = Trainer(SMALL, Schedule(steps=6))
    torch.manual_seed(9)
    assert second.restore(str(tmp_path / "c.pt")) == "mine"
    for i in range(3, 6):
        second.learn(batch(i))
    assert second.step == whole.step
    for p, q in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(p, q)
    for p, q in zip(whole.target.parameters(), second.target.parameters(), strict=True):
        assert torch.equal(p, q)


def test_random_numbers_go_on_where_they_were(tmp_path):
    trainer = Trainer(SMALL, Schedule())
    trainer.save(str(tmp_path / "c.pt"))
    drawn = torch.rand(3)
    torch.manual_seed(9)
    trainer.restore(str(tmp_path / "c.pt"))
    assert torch.equal(torch.rand(3), drawn)


def test_a_checkpoint_of_another_schedule_is_refused(tmp_path):
    Trainer(SMALL, Schedule(peak=0.5)).save(str(tmp_path / "c.pt"))
    with pytest.raises(SettingError, match=r"peak 0\.5 .asked: 0\.001"):
        Trainer(SMALL, Schedule()).restore(str(tmp_path / "c.pt"))


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    trainer = Trainer(SMALL, Schedule())
    trainer.model.other = torch.nn.Linear(2, 2)
    trainer.save(str(tmp_path / "c.pt"))
    with pytest.raises(ModelError, match="another network"):
        Trainer(SMALL, Schedule()).restore(str(tmp_path / "c.pt"))


def test_what_cannot_be_written_is_said():
    with pytest.raises(ModelError, match="can't save"):
        Trainer(SMALL, Schedule()).save("/dev/full/c.pt")


def test_the_rate_warms_up_and_fades():
    trainer = Trainer(SMALL, Schedule(steps=100, warmup=10, peak=1.0))
    assert trainer.rate(0.0) < 0.2
    trainer.step = 50
    assert 0.4 < trainer.rate(0.5) < 0.6
    assert trainer.rate(1.0) < 0.03


def test_the_target_is_not_in_the_optimiser():
    trainer = Trainer(SMALL, Schedule())
    learned = {id(p) for g in trainer.optimiser.param_groups for p in g["params"]}
    assert not learned & {id(p) for p in trainer.target.parameters()}


def test_pinball_is_least_at_the_quantiles():
    actual = torch.linspace(0, 1, 1001)
    ones = torch.ones_like(actual)
    right = torch.tensor([0.1, 0.5, 0.9]).expand(1001, 3)
    assert quantile_loss(right, actual, ones) < quantile_loss(right + 0.1, actual, ones)
    assert quantile_loss(right, actual, ones) < quantile_loss(right * 0 + 0.5, actual, ones)


def test_what_is_unknown_costs_nothing():
    q = torch.zeros(2, 3)
    wild = torch.tensor([0.0, 1e9])
    assert quantile_loss(q, wild, torch.tensor([1.0, 0.0])) == 0
    known = torch.tensor([1.0, 0.0])
    rises = torch.tensor([1.0, 1.0])
    assert event_loss(torch.tensor([50.0, -50.0]), rises, known) < 1e-6


def test_a_right_latent_costs_nothing():
    z = torch.randn(4, 8)
    assert latent_loss(z, z) == 0
    assert latent_loss(z, z + 1) > 0


def test_the_context_length_is_that_of_the_heads():
    assert Shape().context == CONTEXT
