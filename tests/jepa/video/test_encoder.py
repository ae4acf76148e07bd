"""The encoder: Meta's numbers, what a mask hides, any size and length, the exported form."""

import dataclasses

import numpy as np
import pytest
import torch

from bench import conformance, controls, golden
from jepad.errors import SettingError
from jepad.jepa.attention import Turn
from jepad.jepa.target import normed
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.predictor import Asked
from jepad.jepa.video.shape import EncoderShape
from jepad.jepa.video.turns import whole
from jepad.vision.grid import Grid, halves_order, positions, tables
from jepad.vision.patches import unfold

CASE = "v20_encoder_hd40_mlp48_11"
LATER = "v21_train_loss"


def load(name):
    return golden.load(golden.FIXTURES, name)


def small(**more):
    torch.manual_seed(1)
    sizes = {"width": 48, "depth": 2, "heads": 2, "hidden": 96, "layout": "tiled", "patch": 8}
    model = VideoEncoder(EncoderShape(**(sizes | more))).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def later(**more):
    levels = {"version": "2.1", "levels": (0, 1), "image": True, "modality": True}
    return small(layout="interleaved", rescale=True, **levels, **more)


def video(frames=4, rows=24, columns=32, batch=2):
    torch.manual_seed(2)
    return torch.randn(batch, 3, frames, rows, columns)


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def test_metas_numbers():
    rows = conformance.compared(load(CASE))
    assert len(rows) == 14
    assert [row for row in rows if not row.ok] == []


def targets(case):
    """All levels of the clips, as 2.1's training compares them."""
    levels = golden.build(case, "encoder").levels(case.given("clips_video"))
    return torch.cat([normed(level) for level in levels], 2)


def test_metas_numbers_of_2_1():
    case = load(LATER)
    assert golden.compare(case, "out/video/target_layernormed", targets(case)).ok


def test_metas_numbers_of_2_1_for_images():
    """Encoder and predictor in a row, as the case has it."""
    case = load(LATER)
    encoder, predictor = (golden.build(case, name) for name in ("encoder", "predictor"))
    asked = Asked(case.given("mask_enc_image_0"), case.given("mask_pred_image_0"))
    levels = torch.cat(encoder.levels(case.given("clips_image"), [asked.context]), 2)
    found = predictor.predict(levels, asked, mask_index=0, image=True)
    assert golden.compare(case, "out/image/pred_0", found.targets).ok


def test_the_other_layout_of_2_1_is_told_apart():
    case = load(LATER)
    encoder = golden.build(case, "encoder")
    right = encoder.shape
    for change in ({"layout": "tiled"}, {"rescale": False}):
        encoder.shape = dataclasses.replace(right, **change)
        levels = encoder.levels(case.given("clips_video"))
        found = torch.cat([normed(level) for level in levels], 2)
        assert golden.compare(case, "out/video/target_layernormed", found).delta > 0.5


def test_faults_are_seen():
    seen = list(controls.run(load(CASE), quick=True))
    assert len(seen) == 4
    assert [control for control in seen if not control.ok] == []


def test_a_parameter_too_many_or_too_few_is_an_error():
    model = small()
    state = model.state_dict()
    with pytest.raises(RuntimeError, match="pos_embed"):
        model.load_state_dict(state | {"pos_embed": torch.zeros(1)})
    del state["norm.bias"]
    with pytest.raises(RuntimeError, match=r"norm\.bias"):
        model.load_state_dict(state)


def test_what_a_mask_drops_changes_nothing():
    model, clip = small(), video()
    keep = torch.tensor([[0, 3, 9, 20], [5, 6, 7, 23]])
    seen = model.encode(clip, [keep])
    patches = model.patches(clip)
    hidden = torch.ones(patches.shape[:2], dtype=bool).scatter(1, keep, False)
    patches[hidden] = torch.nan
    turn = whole(model.shape.rope, model.grid(clip))
    turn = Turn(turn.cos[keep][:, None], turn.sin[keep][:, None])
    dropped = model(patches.gather(1, keep[..., None].expand(-1, -1, 384)), turn)
    torch.testing.assert_close(dropped, seen, atol=1e-6, rtol=0)


def test_masks_stack_on_the_batch_mask_by_mask():
    model, clip = small(), video()
    masks = [torch.tensor([[0, 1], [2, 3]]), torch.tensor([[4, 9], [23, 5]])]
    both = model.encode(clip, masks)
    assert both.shape == (4, 2, 48)
    each = torch.cat([model.encode(clip, [mask]) for mask in masks])
    torch.testing.assert_close(both, each, atol=1e-6, rtol=0)


def test_a_mask_of_everything_is_no_mask():
    model, clip = small(), video()
    every = torch.arange(24).expand(2, -1)
    torch.testing.assert_close(model.encode(clip, [every]), model.encode(clip), atol=1e-6, rtol=0)


@pytest.mark.parametrize("sizes", [(2, 8, 8), (144, 8, 16), (6, 40, 8), (64, 24, 24)])
@pytest.mark.parametrize("make", [small, later])
def test_any_size_and_length(make, sizes):
    model, clip = make(), video(*sizes, batch=1)
    out = model.encode(clip)
    frames, rows, columns = sizes
    assert out.shape == (1, frames // 2 * (rows // 8) * (columns // 8), 48)
    assert out.isfinite().all()


def test_the_served_form_is_the_same():
    model, clip = small(), video()
    frames = clip.permute(0, 2, 3, 4, 1).numpy()
    patches = torch.from_numpy(np.stack([unfold(f, patch=8) for f in frames]))
    assert torch.equal(patches, model.patches(clip))
    grid = model.grid(clip)
    assert grid == Grid(2, 3, 4)
    assert torch.equal(model(patches, whole(model.shape.rope, grid)), model.encode(clip))


@pytest.mark.parametrize("make", [small, later])
def test_permuted_heads_turn_by_halves(make):
    model, clip = make(), video()
    wanted, rope = model.encode(clip), model.shape.rope
    order = torch.from_numpy(halves_order(rope.head))
    for block in model.blocks:
        for parameter in (block.attn.qkv.weight, block.attn.qkv.bias):
            heads = parameter.unflatten(0, (3, 2, rope.head))
            parameter.copy_(torch.cat([heads[:2][:, :, order], heads[2:]]).flatten(0, 2))
    places = positions(model.grid(clip), rescale=rope.rescale)
    cos, sin = tables(rope, places, halves=True)
    turn = Turn(torch.from_numpy(cos), torch.from_numpy(sin), halves=True)
    found = model(model.patches(clip), turn)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_an_image_has_its_own_embedding_where_it_was_trained():
    model, image = later(), video(1)
    alone = model.encode(image)
    assert alone.shape == (2, 12, 48)
    doubled = model.encode(image.expand(-1, -1, 2, -1, -1))
    assert (alone - doubled).abs().max() > 0.05
    with pytest.raises(SettingError, match="image"):
        small()(torch.zeros(1, 4, 192), whole(model.shape.rope, Grid(1, 2, 2)), image=True)


def test_levels_are_normed_each_by_its_own():
    model, clip = later(), video()
    first, last = model.levels(clip)
    assert torch.equal(last, model.encode(clip))
    assert torch.equal(model.levels(clip, None, [1])[0], last)
    model.norms_block[0].bias.add_(1)
    assert torch.allclose(model.levels(clip)[0], first + 1, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "layers"), [(small, [2]), (small, [-1]), (small, []), (small, None), (later, [7])]
)
def test_a_block_that_cannot_be_read_is_refused(make, layers):
    with pytest.raises(SettingError):
        make().levels(video(), None, layers)


@pytest.mark.parametrize(
    "clip",
    [torch.zeros(3, 4, 24, 32), torch.zeros(1, 1, 4, 24, 32), video(3), video(rows=20), video(0)],
)
def test_other_clips_are_refused(clip):
    with pytest.raises(SettingError):
        small().encode(clip)


@pytest.mark.parametrize("mask", [[[0], [24]], [[-1], [0]], [[0]], [0, 1], [[], []]], ids=str)
def test_other_masks_are_refused(mask):
    with pytest.raises(SettingError):
        small().encode(video(), [torch.tensor(mask, dtype=torch.int64)])
