"""Questions lead to the numbers that the torch modules give for them."""

import numpy as np
import pytest
import torch

from jepad.errors import NotFound, SettingError, TooLarge
from jepad.jepa.video.action import Given
from jepad.jepa.video.predictor import Asked
from jepad.learn.video import fakes, parts
from jepad.scene import onnx, wire
from jepad.scene.budget import Budget, work
from jepad.scene.eye import Eye
from jepad.scene.model import Model
from jepad.scene.normal import normed
from jepad.scene.serving.batch import answered
from jepad.scene.serving.work import MASK_INDEX, Work
from jepad.vision import preprocess

CLOSE = 5e-5
FAR = 1 << 62


def network(preset, part):
    shape = fakes.shapes(preset, tiny=True, probe=part == "probe")[part]
    state = dict(fakes.tensors(shape, 3))
    return parts.filled(shape, state.__getitem__)


def result(steps, backend):
    """What the steps return, each need on its own."""
    sent = None
    while True:
        try:
            need = steps.send(sent)
        except StopIteration as end:
            return end.value
        sent = answered(backend, [need])[0]


class Rig:
    def __init__(self, installed):
        self.model = Model(installed.manifest)
        self.work, self.eye = Work(self.model, "none"), Eye(self.model)
        self.backend = onnx.load(installed)

    def ask(self, kind, frames, *fields):
        blob, data = wire.pack(frames, 0)
        ways = {wire.EmbedFrames: self.work.embed, wire.PredictTemporal: self.work.temporal}
        return result(ways[kind](kind(1, FAR, blob, *fields), [data]), self.backend)


@pytest.mark.parametrize("preset", ["vitl-256", "vitg-384-2.1"])
def test_what_follows_a_clip(model, clip, preset):
    rig, frames = Rig(model(preset)), clip(4)
    made = rig.ask(wire.PredictTemporal, frames, 2)
    assert not made.cached
    seen = rig.eye.look(frames)
    encoded = rig.backend.encode(seen.patches, rig.model.whole(seen.grid), rig.model.levelled)
    context = torch.from_numpy(encoded.levels if rig.model.levelled else encoded.tokens)
    known, frame = seen.grid.tokens, seen.grid.frame
    asked = Asked(torch.arange(known)[None], torch.arange(known, known + 2 * frame)[None])
    with torch.no_grad():
        predictor = network(preset, "predictor")
        wanted = predictor.predict(context, asked, MASK_INDEX).targets[0].numpy()
    assert made.grid == (2, seen.grid.rows, seen.grid.columns)
    assert np.abs(made.values - wanted).max() < CLOSE
    again = rig.ask(wire.PredictTemporal, frames, 2)
    assert again.cached
    other = rig.ask(wire.PredictTemporal, frames, 1)
    assert not other.cached
    assert other.values.shape[0] == frame


def test_frames_of_2ac_are_encoded_alone_and_normed(model, clip):
    rig, frames = Rig(model("vitg-256-ac")), clip(3)
    whole = rig.ask(wire.EmbedFrames, frames)
    assert whole.grid[0] == 3
    each = [rig.ask(wire.EmbedFrames, frames[i : i + 1]).values for i in range(3)]
    assert np.abs(whole.values - np.concatenate(each)).max() < CLOSE
    assert np.abs(whole.values - normed(whole.values)).max() < 1e-4


@pytest.mark.parametrize("keep", [None, [5, 0, 3]])
def test_a_picture_goes_through_its_own_embedding(model, clip, keep):
    rig, frames = Rig(model("vitg-384-2.1")), clip(1)
    few = np.array(keep or [0], np.uint32)
    (blob, data), (kept, more) = wire.pack(frames, 0), wire.pack(few, 1)
    asked = wire.EmbedFrames(1, FAR, blob, kept if keep else None)
    made = result(rig.work.embed(asked, [data, more]), rig.backend)
    encoder = network("vitg-384-2.1", "encoder")
    clip_ = preprocess.evaluate(frames, encoder.shape.size).transpose(3, 0, 1, 2)
    masks = [torch.from_numpy(few.astype(np.int64))[None]] if keep else None
    with torch.no_grad():
        wanted = encoder.encode(torch.from_numpy(clip_.copy())[None], masks)[0].numpy()
    assert np.abs(made.values - wanted).max() < CLOSE
    assert made.grid[0] == 1
    again = result(rig.work.embed(asked, [data, more]), rig.backend)
    assert (again.cached, again.grid) == (True, made.grid)
    twice = rig.ask(wire.EmbedFrames, clip(1).repeat(2, 0))
    assert np.abs(twice.values[few] - made.values[: len(few)]).max() > 1e-3


@pytest.mark.parametrize("preset", ["vitl-256", "vitg-384-2.1"])
def test_nothing_follows_a_picture(model, clip, preset):
    with pytest.raises(SettingError, match="one frame has no motion"):
        Rig(model(preset)).ask(wire.PredictTemporal, clip(1), 1)


@pytest.mark.parametrize("wanted", [1, 3, 9])
def test_classes_with_their_probabilities(model, clip, wanted):
    rig, frames = Rig(model("vitl-256-probe")), clip(4)
    made = rig.ask(wire.EmbedFrames, frames, None, "mean", wanted)
    tokens = rig.ask(wire.EmbedFrames, frames).values
    with torch.no_grad():
        logits = network("vitl-256", "probe")(torch.tensor(tokens)[None])[0]
    best = logits.softmax(0).sort(descending=True)
    assert list(made.classes) == best.indices[:wanted].tolist()
    assert np.abs(np.array(made.probabilities) - best.values[:wanted].numpy()).max() < CLOSE
    assert made.values.ndim == 1
    again = rig.ask(wire.EmbedFrames, frames, None, "mean", wanted)
    assert (again.cached, again.classes, again.probabilities) == (
        True, made.classes, made.probabilities,
    )  # fmt: skip


def test_a_model_without_a_probe_knows_no_classes(model, clip):
    with pytest.raises(NotFound, match="knows no classes"):
        Rig(model()).ask(wire.EmbedFrames, clip(4), None, "mean", 1)


def test_too_many_tokens_are_refused_before_they_are_encoded(model, clip, monkeypatch):
    rig = Rig(model())
    monkeypatch.setattr("jepad.scene.serving.work.MAX_TOKENS", 20)
    with pytest.raises(SettingError, match="give fewer frames"):
        rig.ask(wire.EmbedFrames, clip(8))
    with pytest.raises(SettingError, match="give fewer frames"):
        rig.ask(wire.PredictTemporal, clip(2), 9)


def test_an_answer_that_is_too_large_can_be_pooled(model, clip, monkeypatch):
    rig = Rig(model())
    monkeypatch.setattr("jepad.scene.wire.MAX_REPLY_BYTES", 100)
    with pytest.raises(SettingError, match="pool them"):
        rig.ask(wire.EmbedFrames, clip(2))
    assert rig.ask(wire.EmbedFrames, clip(2), None, "mean").values.ndim == 1


def acted(rig, frames, states, actions):
    (clip, data), (told, more) = wire.pack(frames, 0), wire.pack(actions, 1)
    asked = wire.PredictAction(1, FAR, clip, tuple(states.ravel().tolist()), told)
    return result(rig.work.action(asked, [data, more]), rig.backend)


@pytest.mark.parametrize("frames", [1, 3])
def test_frames_before_the_last_are_the_past(model, clip, frames):
    """What torch says of all steps at once, of the last of them."""
    rig, draws = Rig(model("vitg-256-ac")), np.random.default_rng(1)
    pixels = clip(frames)
    states, actions = draws.uniform(-0.3, 0.3, (2, frames, 7)).astype(np.float32)
    made = acted(rig, pixels, states, actions)
    tokens = rig.ask(wire.EmbedFrames, pixels).values
    given = Given(torch.from_numpy(actions)[None], torch.from_numpy(states)[None])
    with torch.no_grad():
        after = network("vitg-256-ac", "action")(torch.tensor(tokens)[None], given)
    wanted = normed(after[0, -made.values.shape[1] :].numpy())
    assert made.grid[0] == len(made.values) == len(made.states) == 1
    assert np.abs(made.values[0] - wanted).max() < CLOSE


def test_the_past_goes_on_into_what_is_imagined(model, clip):
    rig, draws = Rig(model("vitg-256-ac")), np.random.default_rng(1)
    pixels, states = clip(2), draws.uniform(-0.3, 0.3, (2, 7)).astype(np.float32)
    actions = draws.uniform(-0.3, 0.3, (4, 7)).astype(np.float32)
    made = acted(rig, pixels, states, actions)
    assert (made.values.shape[0], made.states.shape) == (3, (3, 7))
    alone = acted(rig, pixels[1:], states[1:], actions[1:])
    np.testing.assert_array_equal(made.states, alone.states)
    assert np.abs(made.values - alone.values).max(axis=(1, 2)).min() > 1e-4


@pytest.mark.parametrize(("states", "actions"), [(1, 1), (3, 2), (2, 3), (1, 4)])
def test_frames_without_their_states_or_actions_are_refused(model, clip, states, actions):
    rig = Rig(model("vitg-256-ac"))
    given = np.zeros((states, 7), np.float32), np.zeros((actions, 7), np.float32)
    with pytest.raises(SettingError, match=r"3 frames: give a state of 7 numbers for each"):
        acted(rig, clip(3), *given)


def test_the_memory_limit_counts_for_work_too(model, clip):
    rig = Rig(model())
    tokens = 2 * rig.model.frame.tokens
    held = 10**6
    need = work(rig.model, tokens)
    rig.work = Work(rig.model, "none", Budget(held + need, held))
    assert rig.work.most() == tokens
    assert rig.ask(wire.EmbedFrames, clip(4)).values.size
    with pytest.raises(TooLarge, match=r"encoding .* tokens needs .* the limit is"):
        rig.ask(wire.EmbedFrames, clip(6))
    with pytest.raises(TooLarge, match="the limit is"):
        rig.ask(wire.PredictTemporal, clip(4), 1)
