"""Frame by frame beside all at once."""

import numpy as np
import pytest
import torch

from jepad.errors import NotFound, NotReady, SettingError
from jepad.jepa.target import normed
from jepad.jepa.video.action import Given
from jepad.jepa.video.rollout import World, rollout
from jepad.scene import cuda, onnx
from jepad.scene.eye import Eye
from jepad.scene.model import Model
from jepad.scene.streaming import (
    FrameStream,
    Skipping,
    SkippingStream,
    WindowStream,
    apart,
)
from jepad.vision.grid import Grid
from tests.scene import small

DRAWS = np.random.default_rng(0)
FRAMES = DRAWS.integers(0, 256, (12, 64, 64, 3), np.uint8)
STATES = DRAWS.standard_normal((12, 2)).astype(np.float32)
ACTIONS = DRAWS.uniform(-0.1, 0.1, (12, 2)).astype(np.float32)


def _torch(version):
    return cuda.load(small.installed(version), "cpu", "fp32", 1)


def _onnx(version):
    return onnx.load(small.installed(version), "fp32")


def _embedded(backend, frames):
    """Tokens of a clip encoded at once; of 2-AC every frame's."""
    model = Model(backend.manifest)
    seen = Eye(model).look(frames)
    return backend.encode(seen.patches, model.whole(seen.grid)).tokens


def _at_once(frames, states, actions):
    """The predictor's own forward over all frames."""
    backend = _torch("2-ac")
    tokens = normed(torch.from_numpy(_embedded(backend, frames)))
    given = Given(torch.from_numpy(actions)[None], torch.from_numpy(states)[None])
    predictor = small.network(small.ACTION, 1)
    out = predictor(tokens.flatten(0, 1)[None], given, Grid(1, 4, 4))
    return normed(out.unflatten(1, (len(frames), -1)))[0].numpy()


@pytest.mark.parametrize("load", [_torch, _onnx])
def test_frames_one_by_one_are_the_causal_model_at_once(load):
    stream = FrameStream(load("2-ac"))
    expected = _at_once(FRAMES[:4], STATES[:4], ACTIONS[:4])
    for i in range(4):
        stream.see(FRAMES[i])
        got = stream.acted(STATES[i], ACTIONS[i])
        np.testing.assert_allclose(got, expected[i], atol=5e-5)
    assert stream.frames == 4


def test_each_frame_is_encoded_once():
    backend, calls = _torch("2-ac"), []
    encode = backend.encode
    backend.encode = lambda *given: (calls.append(given[0].shape), encode(*given))[1]
    stream = FrameStream(backend, most=4)
    for i in range(9):
        stream.see(FRAMES[i])
        stream.acted(STATES[i], ACTIONS[i])
    assert calls == [(1, 16, 1536)] * 9


def test_a_long_stream_is_the_model_over_the_frames_it_kept():
    stream = FrameStream(_torch("2-ac"), most=4)
    lengths = []
    for i in range(9):
        stream.see(FRAMES[i])
        got = stream.acted(STATES[i], ACTIONS[i])
        lengths.append(stream.frames)
    assert lengths == [1, 2, 3, 3, 3, 3, 3, 3, 3]
    kept = slice(9 - lengths[-1], 9)
    expected = _at_once(FRAMES[kept], STATES[kept], ACTIONS[kept])[-1]
    np.testing.assert_allclose(got, expected, atol=5e-5)


def test_actions_are_imagined_on_top_of_the_past():
    stream = FrameStream(_torch("2-ac"))
    stream.see(FRAMES[0])
    stream.acted(STATES[0], ACTIONS[0])
    stream.see(FRAMES[1])
    backend = stream._backend
    world = World(backend.act, lambda state, action: state + action)
    start = stream.moment(STATES[1])
    imagined = rollout(world, start, backend.put(ACTIONS[1:3][None]))
    expected = _at_once(FRAMES[:2], STATES[:2], ACTIONS[:2])[-1]
    np.testing.assert_allclose(backend.get(imagined[1].tokens)[0], expected, atol=5e-5)
    assert len(imagined) == 3
    np.testing.assert_allclose(stream.acted(STATES[1], ACTIONS[1]), expected, atol=5e-5)


def test_an_action_wants_a_frame_and_a_model_that_knows_actions():
    stream = FrameStream(_torch("2-ac"))
    with pytest.raises(NotReady, match="no frame"):
        stream.acted(STATES[0], ACTIONS[0])
    with pytest.raises(NotFound, match="knows no actions"):
        FrameStream(_torch("2.0"))
    with pytest.raises(SettingError, match="at least 2"):
        FrameStream(_torch("2-ac"), most=1)


@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_windows_are_the_clips_at_once(version):
    backend = _torch(version)
    stream = WindowStream(backend, 4)
    found = [stream.see(frame) for frame in FRAMES[:8]]
    assert [each is None for each in found] == [True, False] * 4
    np.testing.assert_allclose(found[1], _embedded(backend, FRAMES[:2])[0], atol=2e-5)
    for end in (4, 6, 8):
        expected = _embedded(backend, FRAMES[end - 4 : end])[0]
        np.testing.assert_allclose(found[end - 1], expected, atol=2e-5)


def test_frames_of_two_sizes_are_no_window():
    stream = WindowStream(_torch("2.0"))
    stream.see(FRAMES[0])
    with pytest.raises(SettingError, match="in a stream"):
        stream.see(np.zeros((32, 32, 3), np.uint8))


def _still(windows, changing=0):
    """Windows of a camera that stands still; the first `changing` columns of pixels flicker."""
    base = np.repeat(FRAMES[:1], 4, 0)
    out = []
    for i in range(windows):
        window = base.copy()
        window[:, :, :changing] = FRAMES[i : i + 1, :, :changing]
        out.append(window)
    return out


def test_nothing_is_encoded_where_nothing_changes():
    backend = _torch("2.0")
    stream = SkippingStream(backend)
    found = [stream.see(window) for window in _still(3)]
    assert [each.encoded for each in found] == [32, 0, 0]
    expected = _embedded(backend, _still(1)[0])[0]
    np.testing.assert_array_equal(found[2].tokens, found[0].tokens)
    np.testing.assert_allclose(found[0].tokens, expected, atol=2e-5)


def test_only_what_changed_is_encoded_and_some_context():
    stream = SkippingStream(_torch("2.0"), Skipping(context=0.25))
    first, second = (stream.see(window) for window in _still(2, changing=16))
    assert second.encoded == 8 + 6  # a column of four patches in two steps, a quarter of the rest
    changed = np.arange(32) % 4 == 0
    np.testing.assert_array_equal(second.tokens[~changed], first.tokens[~changed])
    assert (np.abs(second.tokens - first.tokens)[changed].max(1) > 1e-3).all()
    assert second.error is None  # not measured yet, and it says so


def test_the_error_is_measured_and_the_tokens_made_right_again():
    backend = _torch("2.0")
    stream = SkippingStream(backend, Skipping(refresh=3))
    windows = _still(5, changing=16)
    found = [stream.see(window) for window in windows]
    assert [each.error is None for each in found] == [True, True, True, False, False]
    np.testing.assert_allclose(found[3].tokens, _embedded(backend, windows[3])[0], atol=2e-5)
    error = found[4].error
    assert error is stream.error
    assert 0 < error.relative < 1
    assert error.worst < error.pooled < 1


def test_all_changed_is_faithful():
    backend = _torch("2.0")
    stream = SkippingStream(backend)
    stream.see(FRAMES[:4])
    got = stream.see(FRAMES[4:8])
    assert got.encoded == 32
    np.testing.assert_allclose(got.tokens, _embedded(backend, FRAMES[4:8])[0], atol=2e-5)


def test_a_window_of_another_length_starts_anew():
    stream = SkippingStream(_torch("2.0"), Skipping(refresh=1))
    stream.see(FRAMES[:4])
    assert stream.see(FRAMES[:4]).error is not None
    again = stream.see(FRAMES[:2])
    assert again.tokens.shape == (16, 48)
    assert again.error is None


def test_changes_creep_up_to_the_threshold_and_no_further():
    """Tokens are compared with what they were computed from, not with the window before."""
    stream = SkippingStream(_torch("2.0"), Skipping(change=0.1, context=0))
    base = np.full((4, 64, 64, 3), 100, np.uint8)
    counts = [stream.see(base + np.uint8(2 * i)).encoded for i in range(6)]
    assert counts == [32, 0, 0, 32, 0, 0]  # two grey levels are .035


def test_a_model_that_sees_frames_alone_has_no_windows():
    for kind in (WindowStream, SkippingStream):
        with pytest.raises(SettingError, match="frame by frame"):
            kind(_torch("2-ac"))


@pytest.mark.parametrize("how", [{"change": -1}, {"context": 2}, {"refresh": 0}])
def test_impossible_skipping_is_refused(how):
    with pytest.raises(SettingError, match="skipping wants"):
        Skipping(**how)


def test_distance_of_tokens():
    one = np.eye(3, dtype=np.float32)
    assert apart(one, one).relative == 0
    assert apart(one, one).worst == pytest.approx(1)
    assert apart(one, 2 * one).relative == pytest.approx(1)
