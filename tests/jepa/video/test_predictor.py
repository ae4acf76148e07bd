"""The masked predictor: Meta's numbers, order that doesn't matter, places it was not built for."""

import dataclasses

import pytest
import torch

from bench import conformance, controls, golden
from jepad.errors import SettingError
from jepad.jepa.video.predictor import Asked, MaskPredictor
from jepad.jepa.video.shape import PredictorShape
from jepad.vision.grid import Grid

SHAPE = PredictorShape(
    width=24,
    depth=2,
    heads=2,
    hidden=48,
    source=16,
    output=16,
    mask_tokens=3,
    grid=Grid(2, 3, 3),
    layout="tiled",
)
ASKED = Asked(torch.tensor([[0, 5, 9], [17, 2, 3]]), torch.tensor([[1, 6], [0, 11]]))


def small(**more):
    torch.manual_seed(1)
    model = MaskPredictor(dataclasses.replace(SHAPE, **more)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def context(width=16, batch=2):
    torch.manual_seed(2)
    return torch.randn(batch, 3, width)


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize(("name", "count"), [("v20_predictor_hd32", 9), ("v21_predictor_hd32", 5)])
def test_metas_numbers(name, count):
    rows = conformance.compared(golden.load(golden.FIXTURES, name))
    assert len(rows) == count
    assert [row for row in rows if not row.ok] == []


@pytest.mark.parametrize("name", ["v20_predictor_hd32", "v21_predictor_hd32"])
def test_faults_are_seen(name):
    seen = list(controls.run(golden.load(golden.FIXTURES, name), quick=True))
    assert len(seen) == 3
    assert [control for control in seen if not control.ok] == []


def test_the_order_of_places_is_the_callers():
    model, x = small(), context()
    found = model.predict(x, ASKED).targets
    swapped = Asked(ASKED.context.flip(1), ASKED.targets.flip(1))
    again = model.predict(x.flip(1), swapped).targets
    torch.testing.assert_close(again.flip(1), found, atol=1e-6, rtol=0)


def test_all_tokens_come_by_place():
    model, x = small(), context()
    whole = model.predict_all(x, ASKED)
    targets = model.predict(x, ASKED).targets
    assert whole.shape == (2, 5, 16)
    assert torch.equal(whole[0, [1, 3]], targets[0])  # places 0 1 5 6 9
    assert torch.equal(whole[1, [0, 3]], targets[1])  # places 0 2 3 11 17


def test_places_matter_and_so_does_the_mask_token():
    model, x = small(), context()
    first = model.predict(x, ASKED, mask_index=0).targets
    moved = model.predict(x, ASKED._replace(targets=ASKED.targets + 1), mask_index=0).targets
    assert (first - moved).abs().max() > 1e-3
    assert (first - model.predict(x, ASKED).targets).abs().max() > 1e-3
    assert torch.equal(first, model.predict(x, ASKED, mask_index=3).targets)


def test_steps_beyond_those_of_training_have_places():
    model, x = small(), context()
    later = Asked(ASKED.context + 900, ASKED.targets + 900)  # a hundred steps on
    found, here = model.predict(x, later).targets, model.predict(x, ASKED).targets
    assert found.isfinite().all()
    assert (found - here).abs().max() < 5e-2  # the layout "tiled" is not quite shift-invariant
    woven = small(layout="interleaved")
    torch.testing.assert_close(
        woven.predict(x, later).targets, woven.predict(x, ASKED).targets, atol=1e-4, rtol=0
    )


def test_four_levels_in_and_the_context_out():
    model = small(levels=4, output=64, context_head=True, modality=True)
    x = context(64)
    out = model.predict(x, ASKED)
    assert out.targets.shape == (2, 2, 64)
    assert out.context.shape == (2, 3, 64)
    image = model.predict(x, ASKED, image=True)
    assert (image.targets - out.targets).abs().max() > 1e-3


def test_the_served_form_is_the_same():
    model, x = small(), context()
    turn = model.turn(x, ASKED)
    assert turn.cos.shape == (2, 1, 5, 12)
    assert torch.equal(model(x, turn).targets, model.predict(x, ASKED).targets)


@pytest.mark.parametrize(
    "asked",
    [
        Asked(ASKED.context[:, :2], ASKED.targets),
        Asked(ASKED.context, ASKED.targets[:1]),
        Asked(ASKED.context, ASKED.targets[:, :0]),
        Asked(ASKED.context, ASKED.targets[0]),
        Asked(ASKED.context, ASKED.targets - 2),
    ],
)
def test_places_that_do_not_fit_are_refused(asked):
    with pytest.raises(SettingError):
        small().predict(context(), asked)
