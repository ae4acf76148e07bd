"""The action predictor: Meta's numbers, what may influence what, keys and values kept."""

from dataclasses import replace

import pytest
import torch

from bench import conformance, golden
from jepad.errors import SettingError
from jepad.jepa.target import normed
from jepad.jepa.video.action import ActionPredictor, Given
from jepad.jepa.video.rollout import Moment
from jepad.jepa.video.shape import ActionShape
from jepad.vision.grid import Grid

CASE = "v2ac_nonsquare"


def small(**more):
    torch.manual_seed(1)
    shape = ActionShape(
        width=32,
        depth=2,
        heads=2,
        hidden=64,
        source=24,
        grid=Grid(4, 2, 3),
        layout="tiled",
        actions=2,
        states=3,
        **more,
    )
    return ActionPredictor(shape).eval()


def fed(b=2, t=3, frame=6):
    torch.manual_seed(2)
    given = Given(torch.randn(b, t, 2), torch.randn(b, t, 3), torch.randn(b, t, 1))
    return torch.randn(b, t * frame, 24), given


def stepped(predictor, tokens, given, grid=None):
    """Frame by frame; the raw predictions, and the past."""
    frame = (grid or predictor.shape.grid).frame
    past, out = None, []
    for i in range(given.action.shape[1]):
        now = tokens[:, i * frame : (i + 1) * frame]
        following, past = predictor.step(now, given.at(i), past, predictor.turn(i, grid=grid))
        out.append(following)
    return torch.cat(out, 1), past


def test_metas_numbers():
    assert [
        row for row in conformance.compared(golden.load(golden.FIXTURES, CASE)) if not row.ok
    ] == []


def off(predictor, case):
    """max|Δ| of what it says of the next frames, layer-normed."""
    tokens = case.tensor("out/tokens_layernormed")
    given = Given(case.given("actions"), case.given("states"), case.given("extrinsics"))
    with torch.inference_mode():
        out = predictor(tokens[:, : 3 * predictor.shape.grid.frame], given.at(slice(3)))
    return golden.compare(case, "out/train/z_tf", normed(out)).delta


def test_the_other_layout_is_noticed():
    case = golden.load(golden.FIXTURES, CASE)
    wrong = golden.build(case, "predictor")
    assert off(wrong, case) <= golden.TOLERANCE
    wrong.shape = replace(wrong.shape, layout="interleaved")
    assert off(wrong, case) > 0.5


def test_another_eps_is_noticed():
    case = golden.load(golden.FIXTURES, CASE)
    wrong = golden.build(case, "predictor")
    for module in wrong.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5
    assert off(wrong, case) > 2 * golden.TOLERANCE


@pytest.mark.parametrize("name", ["action_encoder.bias", "predictor_blocks.1.attn.qkv.bias"])
def test_a_dropped_bias_is_noticed(name):
    case = golden.load(golden.FIXTURES, CASE)
    wrong = golden.build(case, "predictor")
    wrong.get_parameter(name).data.zero_()
    assert off(wrong, case) > 0.05


@pytest.mark.parametrize("extrinsics", [False, True])
@pytest.mark.parametrize("grid", [None, Grid(1, 3, 3), Grid(9, 4, 1)])
def test_steps_equal_all_at_once(extrinsics, grid):
    predictor = small(extrinsics=extrinsics)
    tokens, given = fed(t=4, frame=(grid or predictor.shape.grid).frame)
    with torch.inference_mode():
        whole = predictor(tokens, given, grid)
        torch.testing.assert_close(
            stepped(predictor, tokens, given, grid)[0], whole, atol=1e-5, rtol=0
        )


def test_later_frames_change_nothing_before():
    predictor = small()
    tokens, given = fed()
    before = predictor(tokens, given)
    tokens[:, 12:] += 5
    given.action[:, 2] += 5
    after = predictor(tokens, given)
    torch.testing.assert_close(after[:, :12], before[:, :12])
    assert not torch.allclose(after[:, 12:], before[:, 12:])


@pytest.mark.parametrize("which", ["action", "state"])
def test_a_frames_own_conditions_reach_all_its_patches(which):
    predictor = small()
    tokens, given = fed(t=1)
    before = predictor(tokens, given)
    changed = given._replace(**{which: getattr(given, which) + 1})
    assert ((predictor(tokens, changed) - before).abs().amax(2) > 1e-4).all()


def test_one_frame_and_its_past_are_shared_by_many_actions():
    predictor = small()
    tokens, given = fed(b=1, t=2)
    many = Given(torch.randn(5, 2), torch.randn(5, 3))
    with torch.inference_mode():
        turn = predictor.turn(1)
        _, past = predictor.step(tokens[:, :6], given.at(0), None, predictor.turn(0))
        shared, _ = predictor.step(tokens[:, 6:], many, past, turn)
        for i in range(5):
            alone = Given(*(x[i : i + 1] for x in many[:2]))
            one, _ = predictor.step(tokens[:, 6:], alone, past, turn)
            torch.testing.assert_close(shared[i : i + 1], one, atol=1e-5, rtol=0)


def test_a_past_that_nobody_wants_is_not_kept():
    predictor = small()
    tokens, given = fed(t=1)
    kept = predictor.step(tokens, given.at(0), None, predictor.turn(0))
    dropped = predictor.step(tokens, given.at(0), None, predictor.turn(0), keep=False)
    torch.testing.assert_close(dropped[0], kept[0])
    assert len(kept[1]) == 2
    assert kept[1][0].keys.shape == (2, 2, 8, 16)
    assert dropped[1] == ()


def test_acting_gives_tokens_that_can_be_acted_on():
    predictor = small()
    tokens, given = fed(t=1)
    now = Moment(normed(tokens), given.state[:, 0])
    following, past = predictor.act(now, given.action[:, 0], True)
    torch.testing.assert_close(following, normed(following), atol=1e-4, rtol=0)
    raw, _ = predictor.step(now.tokens, given.at(0), None, predictor.turn(0))
    torch.testing.assert_close(following, normed(raw))
    assert len(past) == 2


def test_time_is_told_apart():
    predictor = small()
    tokens, given = fed(t=1)
    first = predictor.step(tokens, given.at(0), None, predictor.turn(0))[0]
    later = predictor.step(tokens, given.at(0), None, predictor.turn(3))[0]
    assert (first - later).abs().max() > 1e-4


def test_tables_made_while_serving_serve_training():
    predictor = small()
    with torch.inference_mode():
        predictor.turn(0, 7)
    tokens, given = fed(t=7)
    predictor(tokens, given).sum().backward()
    assert predictor.predictor_embed.weight.grad is not None


@pytest.mark.parametrize(("dtype", "within"), [(torch.bfloat16, 0.05), (torch.float64, 1e-5)])
def test_other_precisions(dtype, within):
    tokens, given = fed()
    whole = small()(tokens, given)
    other = small().to(dtype)
    given = Given(*(x.to(dtype) for x in given))
    out = other(tokens.to(dtype), given)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), whole, atol=within, rtol=0)
    torch.testing.assert_close(stepped(other, tokens.to(dtype), given)[0], out, atol=within, rtol=0)


def test_camera_tokens_are_wanted():
    predictor = small(extrinsics=True)
    tokens, given = fed()
    with pytest.raises(SettingError, match="extrinsics"):
        predictor(tokens, given._replace(extrinsics=None))


def test_conditions_of_other_steps_are_refused():
    tokens, given = fed()
    with pytest.raises(SettingError, match="states of 2 steps beside actions of 3"):
        small()(tokens, given._replace(state=given.state[:, :2]))


def test_half_a_frame_is_refused():
    tokens, given = fed()
    with pytest.raises(SettingError, match="17 tokens for 3 actions"):
        small()(tokens[:, :17], given)
