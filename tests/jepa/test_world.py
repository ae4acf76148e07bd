"""Shapes, masks, and what may influence what."""

import dataclasses

import pytest
import torch

from jepad.jepa.attention import Block
from jepad.jepa.config import Shape
from jepad.jepa.encoder import ContextEncoder, TargetEncoder, latent
from jepad.jepa.world import Exported, Feeds, WorldModel

SMALL = Shape(width=32, heads=2, time_blocks=2, predictor_blocks=1)


def feeds(b=2, c=3, shape=SMALL):
    torch.manual_seed(0)
    return Feeds(
        torch.randn(b, c, shape.context, shape.inputs),
        torch.ones(b, c, shape.context),
        torch.randn(b, c, shape.stats),
        torch.randn(b, c, len(shape.horizons), shape.anchors),
        torch.randn(b, c, shape.season),
        torch.zeros(b, c, shape.action),
        torch.zeros(b, c, len(shape.horizons), shape.effects),
    )


def acted(f, channel=0):
    """The same with an action on one channel of the first host, and a guess for its effect."""
    action, effects = f.action.clone(), f.effects.clone()
    action[0, channel, 2] = 1.0
    effects[0, channel, :, 1] = -50.0
    return f._replace(action=action, effects=effects)


@pytest.fixture
def model():
    torch.manual_seed(1)
    return WorldModel(SMALL).eval()


@pytest.mark.parametrize(("b", "c"), [(1, 1), (2, 3), (5, 40)])
def test_shapes_for_any_batch_and_channels(model, b, c):
    out = model(feeds(b, c))
    assert out.quantiles.shape == (b, c, 4, 3)
    assert out.p_rise.shape == (b, c, 4)
    assert out.z.shape == (b, c, 32)
    assert out.z_hat.shape == (b, c, 4, 32)
    assert out.effect.shape == (b, c, 4, 3)


def test_exported_shapes_and_mean_over_seen_channels(model):
    f = feeds(2, 3)
    f.valid[:, 2] = 0
    quantiles, p_rise, z, z_hat, effect = Exported(model)(*f)
    assert quantiles.shape == (2, 3, 4, 3)
    assert p_rise.shape == (2, 3, 4)
    assert z_hat.shape == (2, 4, 32)
    assert effect.shape == (2, 3, 4, 3)
    torch.testing.assert_close(z, model(f).z[:, :2].mean(1))


def test_trust_draws_the_exported_prediction_to_the_present(model):
    model.trust[:3] = 0
    _, _, z, z_hat, _ = Exported(model)(*feeds())
    torch.testing.assert_close(z_hat[:, 0], z)
    torch.testing.assert_close(z_hat[:, 3], model(feeds()).z_hat[:, :, 3].mean(1))


def test_quantiles_never_cross(model):
    q = model(feeds(4, 8)).quantiles
    assert (q[..., 0] <= q[..., 1]).all()
    assert (q[..., 1] <= q[..., 2]).all()


def test_an_absent_channel_changes_no_other(model):
    f = feeds()
    f.valid[:, 1] = 0
    before = model(f).quantiles
    f.x[:, 1] += 5
    f.stats[:, 1] += 5
    torch.testing.assert_close(model(f).quantiles[:, [0, 2]], before[:, [0, 2]])


def test_patches_not_yet_seen_are_hidden(model):
    f = feeds()
    f.valid[..., :32] = 0
    before = model(f).quantiles
    f.x[..., :32, :] += 5
    torch.testing.assert_close(model(f).quantiles, before)


def test_a_seen_channel_does_inform_the_others(model):
    f = feeds()
    before = model(f).quantiles
    f.stats[:, 1] += 5
    assert not torch.allclose(model(f).quantiles[:, 0], before[:, 0])


def test_the_season_reaches_the_forecast_but_not_the_embedding(model):
    f = feeds()
    before = model(f)
    after = model(f._replace(season=f.season + 1, anchors=f.anchors + 1))
    torch.testing.assert_close(after.z, before.z)
    assert not torch.allclose(after.quantiles, before.quantiles)


def test_no_action_is_no_effect(model):
    assert (model(feeds()).effect == 0).all()


def test_an_action_moves_what_it_names_and_leaves_the_rest(model):
    plain, out = model(feeds()), model(acted(feeds()))
    torch.testing.assert_close(out.quantiles, plain.quantiles)  # these are of doing nothing
    torch.testing.assert_close(out.z, plain.z)
    assert (out.effect[0, 0] != 0).all()
    assert (out.effect[0, 1:] == 0).all()
    assert (out.effect[1] == 0).all()
    assert not torch.allclose(out.z_hat[0, 0], plain.z_hat[0, 0])
    torch.testing.assert_close(out.z_hat[0, 1:], plain.z_hat[0, 1:])
    assert (out.effect[..., 0] <= out.effect[..., 1]).all()
    assert (out.effect[..., 1] <= out.effect[..., 2]).all()


def test_the_threshold_moves_the_chance_to_rise_and_no_quantile(model):
    f = feeds()
    far = f.anchors.clone()
    far[..., -1] += 30
    plain, out = model(f), model(f._replace(anchors=far))
    assert not torch.allclose(out.p_rise, plain.p_rise)
    steps, _ = model.readout(torch.zeros(6, 4, 32), far.reshape(6, 4, -1))
    same, _ = model.readout(torch.zeros(6, 4, 32), f.anchors.reshape(6, 4, -1))
    torch.testing.assert_close(steps, same)


def test_channels_have_no_order(model):
    f = feeds(1, 5)
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = model(Feeds(*(t[:, order] for t in f)))
    torch.testing.assert_close(turned.quantiles, model(f).quantiles[:, order], atol=1e-5, rtol=1e-4)


def test_the_target_follows_and_never_learns():
    encoder = ContextEncoder(SMALL)
    target = TargetEncoder(encoder)
    assert not any(p.requires_grad for p in target.parameters())
    start = [p.clone() for p in target.parameters()]
    with torch.no_grad():
        for p in encoder.parameters():
            p.add_(1.0)
    target.follow(encoder, 0.9)
    for before, after in zip(start, target.parameters(), strict=True):
        torch.testing.assert_close(after, before + 0.1, atol=1e-5, rtol=1e-4)


def test_latents_are_layer_normed():
    z = latent(torch.randn(7, 9, 32) * 5 + 3)
    torch.testing.assert_close(z.mean(-1), torch.zeros(7), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.var(-1, unbiased=False), torch.ones(7), atol=1e-3, rtol=0)


def test_one_block_hides_keys():
    block = Block(SMALL.block).eval()
    x = torch.randn(2, 6, 32)
    hidden = torch.zeros(2, 1, 1, 6)
    hidden[..., 4:] = -1e4
    torch.testing.assert_close(block(x, hidden)[:, :4], block(x[:, :4]), atol=1e-5, rtol=1e-4)


def test_tokens_that_nobody_reads_need_no_work():
    block = Block(SMALL.block).eval()
    x = torch.randn(2, 6, 32)
    torch.testing.assert_close(block(x, keep=(0, 5)), block(x)[:, [0, 5]], atol=1e-5, rtol=1e-4)


def test_parameter_names_are_those_of_vjepa():
    names = set(dict(Block(SMALL.block).named_parameters()))
    assert {"norm1.weight", "attn.qkv.weight", "attn.proj.bias", "mlp.fc1.weight"} <= names


def test_the_shape_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SMALL.width = 3
