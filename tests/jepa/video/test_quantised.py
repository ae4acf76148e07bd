"""One byte a weight, beside the weights it was made from."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from jepad.errors import ModelError, SettingError
from jepad.jepa.attention import Block, Turn
from jepad.jepa.config import BlockShape
from jepad.jepa.video.quantised import RoundedLinear, replace, resident, rounded


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _weight(out=24, size=40):
    """Channels of very different sizes, one of them zero."""
    weight = torch.randn(out, size) * torch.logspace(-3, 2, out)[:, None]
    weight[5] = 0
    return weight


def test_int8_is_within_half_a_step():
    weight = _weight()
    made = rounded(weight, "int8")
    assert made.values.dtype == torch.int8
    assert made.values.min() >= -127
    off = (made.restored() - weight).abs()
    assert (off <= made.scales[:, None] * 0.5001).all()
    assert (made.scales * 127 >= weight.abs().amax(1)).all()


def test_fp8_is_within_a_sixteenth_of_each_number():
    weight = _weight()
    made = rounded(weight, "fp8")
    assert made.values.dtype == torch.uint8
    off = (made.restored() - weight).abs()
    smallest = made.scales[:, None] * 2.0**-10  # half of e4m3's smallest step
    assert (off <= torch.maximum(weight.abs() / 16 * 1.0001, smallest)).all()


@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_a_channel_of_zeros_stays_zero(form):
    made = rounded(_weight(), form)
    assert made.scales[5] == 1
    assert (made.restored()[5] == 0).all()


@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_scales_do_not_grow_much_by_being_bfloat16(form):
    weight = _weight()
    made = rounded(weight, form)
    assert torch.equal(made.scales, made.scales.bfloat16().float())
    largest = {"int8": 127, "fp8": 448}[form]
    wanted = torch.where(weight.abs().amax(1) > 0, weight.abs().amax(1) / largest, 1)
    assert (made.scales / wanted).max() < 1.008


@pytest.mark.parametrize("form", ["int8", "fp8"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_a_linear_of_the_restored_weights(form, bias):
    linear = nn.Linear(40, 24, bias=bias)
    layer = RoundedLinear(linear, form)
    x = torch.randn(2, 3, 40)
    expected = functional.linear(x, rounded(linear.weight, form).restored(), linear.bias)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
    assert (layer.in_features, layer.out_features) == (40, 24)
    assert form in repr(layer)


@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_the_bias_is_kept_exactly(form):
    linear = nn.Linear(40, 24)
    assert torch.equal(RoundedLinear(linear, form)(torch.zeros(1, 40))[0], linear.bias)


@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_a_cast_of_the_module_loses_nothing_of_the_weights(form):
    layer = RoundedLinear(nn.Linear(40, 24), form)
    exact = rounded(nn.Linear(40, 24).weight, form)
    layer.values, layer.scales = exact
    layer.to(torch.bfloat16)
    assert layer.values.dtype == exact.values.dtype
    assert torch.equal(layer.scales.float(), exact.scales)
    assert layer(torch.randn(3, 40).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(("form", "least"), [("int8", 0.9999), ("fp8", 0.9985)])
def test_a_block_of_rounded_layers_is_close_to_the_float_one(form, least):
    shape = BlockShape(width=48, heads=4, hidden=96)
    block = Block(shape)
    x = torch.randn(2, 10, 48)
    angle = torch.randn(10, 12)
    turn = Turn(angle.cos(), angle.sin(), halves=True)
    with torch.no_grad():
        expected = block(x, turn=turn) - x
        names = replace(block, form, lambda name: name != "mlp.fc2")
        got = block(x, turn=turn) - x
    assert names == ["attn.qkv", "attn.proj", "mlp.fc1"]
    assert isinstance(block.mlp.fc2, nn.Linear)
    assert functional.cosine_similarity(got, expected, -1).min() > least


def test_a_quarter_of_the_bytes():
    block = nn.Sequential(nn.Linear(256, 512), nn.Linear(512, 256))
    before = resident(block)
    replace(block, "int8", lambda name: True)
    assert 0.25 < resident(block) / before < 0.27


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(bad):
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with torch.no_grad():
        module[1].weight[2, 3] = bad
    with pytest.raises(ModelError, match=r"^1: a weight is NaN or infinite"):
        replace(module, "int8", lambda name: True)


def test_another_form_is_refused():
    with pytest.raises(SettingError, match="int4"):
        rounded(torch.ones(2, 2), "int4")
