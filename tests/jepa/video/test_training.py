"""Training steps: Meta's numbers, what learns and what doesn't, going on where one was."""

from dataclasses import replace

import pytest
import torch

from bench import conformance, golden
from jepad.errors import SettingError
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.masks import Masks
from jepad.jepa.video.objective import Seen
from jepad.jepa.video.predictor import MaskPredictor
from jepad.jepa.video.shape import EncoderShape, PredictorShape
from jepad.jepa.video.training import ActionTrainer, Course, MaskedTrainer, encode_frames
from jepad.vision.grid import Grid
from tests.jepa.video.test_action import small
from tests.jepa.video.test_objective import acted

QUICK = Course(start=1e-3, peak=1e-3, final=1e-3, warmup=0, steps=20)
ENCODER = EncoderShape(
    width=24, depth=1, heads=2, hidden=48, layout="tiled", size=8, frames=4, patch=4
)
PREDICTOR = PredictorShape(
    width=24,
    depth=1,
    heads=2,
    hidden=48,
    source=24,
    output=24,
    mask_tokens=2,
    grid=Grid(2, 2, 2),
    layout="tiled",
)


def trainer(course=QUICK):
    torch.manual_seed(0)
    return MaskedTrainer(VideoEncoder(ENCODER), MaskPredictor(PREDICTOR), course)


def clips(b=2, t=4):
    torch.manual_seed(3)
    return torch.randn(b, 3, t, 8, 8)


def pairs(b=2):
    each = Masks(torch.tensor([0, 2, 3]), torch.tensor([1, 4, 5, 6, 7]))
    other = Masks(torch.tensor([1, 5]), torch.tensor([0, 2, 4, 6]))
    return [Masks(*(x.expand(b, -1) for x in pair)) for pair in (each, other)]


@pytest.mark.parametrize("case", ["v20_train_step", "v21_train_loss"])
def test_metas_numbers(case):
    assert [
        row for row in conformance.compared(golden.load(golden.FIXTURES, case)) if not row.ok
    ] == []


@pytest.mark.parametrize(
    ("setting", "value"), [("wd", 0.03), ("lr", 6e-4), ("warmup", 30), ("ema", 0.999)]
)
def test_another_setting_is_noticed(setting, value):
    case = golden.load(golden.FIXTURES, "v20_train_step")
    config = case.about["config"]
    (config if setting == "ema" else config["opt"])[setting] = value
    assert [row for row in conformance.compared(case) if not row.ok]


def test_a_leaked_mask_is_noticed():
    case = golden.load(golden.FIXTURES, "v20_train_step")
    wanted = case.arrays["in/mask_pred_0"]
    case.arrays["in/mask_enc_0"][:, :4] = wanted[:, :4]
    assert [row for row in conformance.compared(case) if not row.ok]


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_loss_falls(bfloat16):
    learner = trainer(replace(QUICK, bfloat16=bfloat16))
    seen = [learner.learn(clips(), pairs())["total"] for _ in range(20)]
    assert seen[-1] < 0.9 * seen[0]
    assert all(p.dtype == torch.float32 for p in learner.encoder.parameters())


def test_the_target_follows_and_never_learns():
    learner = trainer()
    before = [p.clone() for p in learner.target.parameters()]
    learner.learn(clips(), pairs())
    assert all(p.grad is None for p in learner.target.parameters())
    moved = zip(before, learner.target.parameters(), learner.encoder.parameters(), strict=True)
    for old, slow, fast in moved:
        torch.testing.assert_close(slow, torch.lerp(old, fast.detach(), 1 - 0.99925))


def test_mask_tokens_that_nobody_uses_stay():
    learner = trainer()
    learner.learn(clips(), pairs())
    assert learner.predictor.mask_tokens[1].grad is None
    assert learner.predictor.mask_tokens[0].grad is not None


def test_a_context_term_wants_a_predictor_that_has_one():
    with pytest.raises(SettingError, match="nothing of what was seen"):
        trainer(Course(seen=Seen())).learn(clips(), pairs())


def test_going_on_equals_uninterrupted(tmp_path):
    whole = trainer()
    for _ in range(4):
        whole.learn(clips(), pairs())
    first = trainer()
    for _ in range(2):
        first.learn(clips(), pairs())
    first.save(str(tmp_path / "c.pt"), "mine")
    second = MaskedTrainer(VideoEncoder(ENCODER), MaskPredictor(PREDICTOR), QUICK)
    assert second.restore(str(tmp_path / "c.pt")) == "mine"
    for _ in range(2):
        second.learn(clips(), pairs())
    for name, part in whole.parts.items():
        for p, q in zip(part.parameters(), second.parts[name].parameters(), strict=True):
            assert torch.equal(p, q)


def test_a_state_of_another_course_is_refused(tmp_path):
    trainer().save(str(tmp_path / "c.pt"))
    with pytest.raises(SettingError, match=r"decay 0\.04 .asked: 0\.1"):
        trainer(replace(QUICK, decay=0.1)).restore(str(tmp_path / "c.pt"))


def test_the_rate_warms_up_then_fades():
    course = Course(start=0.0, peak=1.0, final=0.1, warmup=10, steps=110)
    assert course.rate(5) == 0.5
    assert course.rate(10) == 1.0
    assert course.rate(60) == pytest.approx(0.55)
    assert course.rate(110) == pytest.approx(0.1)
    assert course.rate(900) == pytest.approx(0.1)


def test_weight_decay_goes_its_own_way():
    course = Course(decay=0.1, final_decay=0.3, steps=100)
    assert [course.held(i) for i in (0, 50, 100)] == pytest.approx([0.1, 0.2, 0.3])
    learner = trainer(replace(QUICK, decay=0.1, final_decay=0.3))
    learner.learn(clips(), pairs())
    held, free = learner.optimiser.param_groups
    assert held["weight_decay"] == learner.course.held(1) > 0.1
    assert free["weight_decay"] == 0
    assert all(p.ndim == 1 for p in free["params"])


def test_more_may_learn_beside_it():
    learner = trainer()
    more = torch.nn.Linear(2, 2)
    learner.optimiser.add_param_group({"params": list(more.parameters()), "weight_decay": 0.5})
    learner.learn(clips(), pairs())
    assert learner.optimiser.param_groups[2]["weight_decay"] == 0.5
    assert learner.optimiser.param_groups[2]["lr"] == 1e-3


def test_every_frame_is_encoded_alone():
    encoder = trainer().encoder.eval()
    frames = clips(t=3)
    tokens = encode_frames(encoder, frames)
    assert tokens.shape == (2, 12, 24)
    frames[:, :, 1] += 1
    changed = (encode_frames(encoder, frames) - tokens).abs().amax(2) > 1e-5
    assert changed.tolist() == [[False] * 4 + [True] * 4 + [False] * 4] * 2


@pytest.mark.parametrize("bfloat16", [False, True])
def test_what_actions_lead_to_is_learned(bfloat16):
    learner = ActionTrainer(small(), replace(QUICK, bfloat16=bfloat16))
    seen = [learner.learn(*acted()) for _ in range(20)]
    assert seen[-1]["total"] < 0.95 * seen[0]["total"]
    assert seen[0]["total"] == pytest.approx(seen[0]["taught"] + seen[0]["alone"])
