"""Questions lead to the numbers that the torch modules give for them."""

import numpy as np
import pytest
import torch

from jepad.errors import SettingError
from jepad.jepa.video.predictor import Asked
from jepad.learn.video import fakes, parts
from jepad.scene import onnx, wire
from jepad.scene.eye import Eye
from jepad.scene.model import Model
from jepad.scene.normal import normed
from jepad.scene.serving.batch import answered
from jepad.scene.serving.work import MASK_INDEX, Work

CLOSE = 5e-5
FAR = 1 << 62


def network(preset, part):
    shape = fakes.shapes(preset, tiny=True)[part]
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
