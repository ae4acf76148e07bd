"""The torch backend on a CPU: everything but the recording of a CUDA graph."""

import shutil

import numpy as np
import pytest
import torch

from jepad.errors import DeviceLost, EngineError, ModelError, NotFound, SettingError, TooLarge
from jepad.jepa.video.rollout import Moment, World, rollout
from jepad.models import library
from jepad.planning.energy import l1
from jepad.scene import cuda, onnx, wire
from jepad.scene.capture import Recorded, Repeats
from jepad.scene.model import Model
from jepad.vision.grid import Grid
from tests.scene import small


def _loaded(version, precision="fp32"):
    return cuda.load(small.installed(version), "cpu", precision, 1)


def _patches(count=1, tokens=32, size=1536):
    return np.random.default_rng(0).standard_normal((count, tokens, size)).astype(np.float32)


@pytest.fixture
def ungated(monkeypatch):
    """Random weights have energies so near to each other that bfloat16 alone turns choices."""
    monkeypatch.setattr(cuda.proof, "passed", lambda *_: None)


@pytest.mark.parametrize("version", ["2.0", "2.1", "2-ac"])
def test_tokens_are_those_of_onnx_runtime(version):
    ours, theirs = _loaded(version), onnx.load(small.installed(version), "fp32")
    tables = Model(ours.manifest).whole(small.GRID)
    got, expected = (each.encode(_patches(2), tables).tokens for each in (ours, theirs))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_a_picture_is_that_of_onnx_runtime():
    ours, theirs = _loaded("2.1"), onnx.load(small.installed("2.1"), "fp32")
    tables = Model(ours.manifest).whole(Grid(1, 4, 4))
    given = _patches(2, 16, small.LATER.image_inputs), tables, True
    got, expected = (each.encode(*given) for each in (ours, theirs))
    np.testing.assert_allclose(got.tokens, expected.tokens, atol=2e-5)
    np.testing.assert_allclose(got.levels, expected.levels, atol=2e-5)


@pytest.mark.parametrize(("precision", "most"), [("fp32", 2e-5), ("bf16", 0.1)])
def test_classes_are_those_of_onnx_runtime(precision, most):
    name = "2.0 classifier"
    ours, theirs = _loaded(name, precision), onnx.load(small.installed(name), "fp32")
    tokens = _patches(3, 32, 48)
    got, expected = (each.classify(tokens) for each in (ours, theirs))
    assert got.shape == (3, 7)
    np.testing.assert_allclose(got, expected, atol=most)
    with pytest.raises(EngineError, match="no probe"):
        _loaded("2.0").classify(tokens)


def test_tokens_that_are_kept_keep_their_places():
    ours, theirs = _loaded("2.0"), onnx.load(small.installed("2.0"), "fp32")
    keep = np.array([1, 5, 17, 30])
    tables = Model(ours.manifest).kept(small.GRID, keep)
    got, expected = (each.encode(_patches()[:, keep], tables).tokens for each in (ours, theirs))
    np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_predictions_are_those_of_onnx_runtime(version):
    ours, theirs = _loaded(version), onnx.load(small.installed(version), "fp32")
    model = Model(ours.manifest)
    found = []
    for each in (ours, theirs):
        seen = each.encode(_patches(), model.whole(Grid(1, 4, 8)), model.levelled)
        context = seen.levels if model.levelled else seen.tokens
        found.append(each.predict(context, model.ahead(Grid(1, 4, 8), 1), 1))
    np.testing.assert_allclose(found[0], found[1], atol=5e-5)
    assert found[0].shape[1] == 32


def _energies(backend, actions, samples):
    """Two steps ahead; the same start for all."""
    start = Moment(backend.put(_patches(1, 16, 48)), backend.put(np.zeros((1, 2))), None)
    world = World(backend.act, lambda state, action: state + action)
    goal = backend.put(_patches(3, 16, 48)[2:])
    parts = [
        backend.get(l1(rollout(world, start, backend.put(each))[-1].tokens, goal))
        for each in np.split(actions, len(actions) // samples)
    ]
    return np.concatenate(parts)


def test_a_rollout_is_that_of_onnx_runtime_in_any_batch():
    actions = np.random.default_rng(1).uniform(-1, 1, (6, 2, 2)).astype(np.float32)
    ours, theirs = _loaded("2-ac"), onnx.load(small.installed("2-ac"), "fp32")
    expected = _energies(theirs, actions, 6)
    assert np.ptp(expected) > 1e-3
    for samples in (6, 2, 1):
        np.testing.assert_allclose(_energies(ours, actions, samples), expected, atol=2e-5)


def test_a_past_is_kept_only_if_asked_for():
    backend = _loaded("2-ac")
    now = Moment(backend.put(_patches(1, 16, 48)), backend.put(np.zeros((1, 2))))
    assert backend.act(now, backend.put(np.zeros((1, 2))), False)[1] is None
    past = backend.act(now, backend.put(np.zeros((1, 2))), True)[1]
    assert past[0].keys.shape == (1, 4, 18, 12)


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.999), ("int8", 0.999), ("fp8", 0.99)])
def test_cheaper_precisions_are_close(precision, least, ungated):
    cheap, exact = _loaded("2.0", precision), _loaded("2.0")
    tables = Model(exact.manifest).whole(small.GRID)
    got, expected = (each.encode(_patches(), tables).tokens[0] for each in (cheap, exact))
    lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((got * expected).sum(1) / lengths).min() > least
    assert cheap.precision == precision
    assert cheap.resident_bytes < 0.52 * exact.resident_bytes
    assert (cheap.accuracy is None) == (precision == "bf16")
    told = wire.accuracy(cheap.gate)
    assert (told is None) == (precision == "bf16")
    assert told is None or (told.pooled, told.worst) == (
        cheap.accuracy.pooled,
        cheap.accuracy.worst,
    )


def test_rounded_weights_are_measured_with_the_planners_choices(ungated):
    found = _loaded("2-ac", "int8").accuracy
    assert found.pooled > 0.999
    assert found.worst > 0.99
    assert 0.5 < found.agreement <= 1


def test_only_the_encoder_is_rounded_and_not_its_last_layer(ungated):
    networks = _loaded("2-ac", "int8")._networks
    kinds = {
        name: type(layer).__name__
        for name, layer in networks.encoder.named_modules()
        if name.endswith(("qkv", "proj", "fc1", "fc2")) and name.startswith("blocks")
    }
    assert kinds.pop("blocks.1.mlp.fc2") == "Linear"
    assert set(kinds.values()) == {"RoundedLinear"}
    assert networks.action.predictor_blocks[0].mlp.fc1.weight.dtype == torch.bfloat16


def test_rounded_weights_that_are_close_pass_the_gate():
    assert _loaded("2.0", "int8").accuracy.pooled > 0.999


def test_weights_that_are_too_far_off_are_refused(monkeypatch):
    monkeypatch.setattr(cuda.TorchBackend, "encode", lambda *_: cuda.Encoded(_patches(4, 16, 48)))
    with pytest.raises(ModelError, match=r"pooled cosine .*; use --precision bf16"):
        _loaded("2.0", "int8")


def test_unknown_precision_device_and_part():
    with pytest.raises(SettingError, match="int4"):
        _loaded("2.0", "int4")
    for device in ("toaster", "cuda:99"):
        with pytest.raises(NotFound, match=f"device '{device}' can't be used here"):
            cuda.load(small.installed("2.0"), device, "bf16")
    with pytest.raises(EngineError, match="no predictor"):
        _loaded("2-ac").predict(_patches(1, 4, 48), None, 0)
    with pytest.raises(NotFound, match="knows no actions"):
        _loaded("2.0").act(None, None, False)


def test_damaged_weights_are_refused(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(small.installed("2.0").directory, copy)
    with open(copy / "weights.safetensors", "r+b") as f:
        f.seek(-4, 2)
        f.write(b"\1\2\3\4")
    with pytest.raises(ModelError, match="SHA-256"):
        cuda.load(library.read(str(copy)), "cpu", "fp32")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), TooLarge),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), DeviceLost),
        (RuntimeError("CUDA error: device-side assert triggered"), DeviceLost),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), EngineError),
    ],
)
def test_what_torch_says_gets_its_name(error, name):
    backend = _loaded("2.0")
    encoder, tables = backend._networks.encoder, Model(backend.manifest).whole(small.GRID)

    def fails(*_):
        raise error

    encoder.read = fails
    with pytest.raises(name) as found:
        backend.encode(_patches(), tables)
    assert type(found.value) is name
    del encoder.read
    if name is DeviceLost:  # and is not tried again
        with pytest.raises(DeviceLost, match="cpu was lost: CUDA error"):
            backend.encode(_patches(), tables)
    else:
        assert backend.encode(_patches(), tables).tokens.shape == (1, 32, 48)
    backend.close()


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), TooLarge),
        (torch.AcceleratorError("CUDA error: device is lost"), DeviceLost),
        (RuntimeError("something else"), EngineError),
    ],
)
def test_a_device_that_fails_while_loading_is_named(error, name, monkeypatch):
    def fails(*_):
        raise error

    monkeypatch.setattr(cuda, "networks_of", fails)
    with pytest.raises(name) as found:
        _loaded("2.0")
    assert type(found.value) is name


def test_closing_lets_go_of_the_weights():
    backend = _loaded("2.0")
    backend.close()
    assert {p.device.type for p in backend._networks.encoder.parameters()} == {"meta"}


def test_devices_are_those_with_memory(monkeypatch):
    def memory(i):
        if i == 1:
            raise RuntimeError("CUDA error: out of memory")
        return 5, 9

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    assert [(d.name, d.free_bytes, d.total_bytes) for d in cuda.devices()] == [
        ("cuda:0", 5, 9),
        ("cuda:2", 5, 9),
    ]


# What is recorded, and when


class _Tape:
    """Stands in for a CUDA graph: replays by computing again into the same memory."""

    def __init__(self):
        self.recorded = []

    def __call__(self, work, inputs):
        outputs = work(*inputs)
        self.recorded.append([tuple(each.shape) for each in inputs])

        def replay():
            for kept, fresh in zip(outputs, work(*inputs), strict=True):
                kept.copy_(fresh)

        return Recorded(replay, inputs, outputs)


def _double(x):
    return [x * 2]


def test_what_is_met_twice_is_recorded_then_replayed():
    tape = _Tape()
    repeats = Repeats(tape)
    results = [repeats("double", _double, [torch.full((3,), float(i))])[0] for i in range(4)]
    assert tape.recorded == [[(3,)]]
    assert [each[0].item() for each in results] == [0, 2, 4, 6]  # each the caller's own


def test_other_shapes_dtypes_and_names_are_recorded_apart():
    tape = _Tape()
    repeats = Repeats(tape)
    for x in (torch.ones(3), torch.ones(4), torch.ones(3, dtype=torch.bfloat16)) * 2:
        repeats("double", _double, [x])
    repeats("same", lambda x: [x], [torch.ones(3)])
    assert len(tape.recorded) == 3


def test_the_least_used_recording_goes_first():
    tape = _Tape()
    repeats = Repeats(tape, most=2)
    for size in (1, 1, 2, 2, 1, 3, 3, 1, 2):
        repeats("double", _double, [torch.ones(size)])
    assert tape.recorded == [[(1,)], [(2,)], [(3,)], [(2,)]]


def test_what_cannot_be_recorded_is_run_as_it_is():
    def refuses(work, inputs):
        raise RuntimeError("operation not permitted when stream is capturing")

    repeats = Repeats(refuses)
    for i in range(3):
        assert repeats("double", _double, [torch.full((1,), float(i))])[0].item() == 2 * i


def test_a_backend_that_replays_says_the_same():
    plain = _loaded("2.0")
    tape = _Tape()
    again = cuda.TorchBackend(plain.manifest, plain._networks, Repeats(tape))
    tables = Model(plain.manifest).whole(small.GRID)
    for i in range(3):
        patches = _patches(i + 1)[i:]
        expected = plain.encode(patches, tables).tokens
        assert np.array_equal(again.encode(patches, tables).tokens, expected)
    assert len(tape.recorded) == 1
