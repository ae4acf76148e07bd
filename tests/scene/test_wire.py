"""What travels survives; what is no question, or not as large as it says, is refused."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepad.errors import EngineError, SettingError
from jepad.scene import wire
from jepad.worker.tongue import encode

CLIP = wire.Blob((2, 8, 8, 3), "u1", 0)


def test_requests_survive():
    actions = wire.Blob((2, 7), "f4", 1)
    for request in (
        wire.Ping(1, 2),
        wire.EmbedFrames(1, 2, CLIP, wire.Blob((3,), "u4", 1), "mean"),
        wire.EmbedFrames(1, 2, wire.Streamed("camera", 5, 16)),
        wire.PredictTemporal(1, 2, CLIP, 4),
        wire.PredictAction(1, 2, CLIP, (0.0, 1.5), actions),
        wire.PlanStart(1, 2, CLIP, CLIP, (0.0,), "droid", wire.Search(samples=8, landscape=5)),
        wire.JobStatus(1, 2, "abc"),
        wire.JobCancel(1, 2, "abc"),
    ):
        assert wire.TONGUE.read_request(encode(request)) == request


def test_arrays_survive():
    for array in (
        np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3),
        np.arange(5, dtype=np.uint32),
        np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
    ):
        blob, data = wire.pack(array[::1], 1)
        back = wire.unpack(blob, [b"", data])
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)
        assert not back.flags.writeable


@pytest.mark.parametrize(
    "blob",
    [wire.Blob((2, 2), "f4", 0), wire.Blob((2, 2), "f4", 1), wire.Blob((60000,) * 4, "f4", 0)],
)
def test_parts_that_are_not_what_is_said(blob):
    with pytest.raises(SettingError):
        wire.unpack(blob, [b"abc"])


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((2, 8, 8), "u1"), ((2, 8, 8, 4), "u1"), ((2, 8, 8, 3), "f4"), ((257, 1, 1, 3), "u1"),
     ((1, 2049, 1, 3), "u1")],
)  # fmt: skip
def test_what_is_no_clip(shape, kind):
    size = int(np.prod(shape)) * (4 if kind == "f4" else 1)
    with pytest.raises(SettingError):
        wire.frames_of(wire.Blob(shape, kind, 0), [bytes(size)])


def test_numbers_that_are_none():
    bad = np.array([[1, np.nan]], np.float32)
    blob, data = wire.pack(bad, 0)
    with pytest.raises(SettingError, match="not finite"):
        wire.floats_of(blob, [data], "H A")
    blob, data = wire.pack(np.ones(3, np.float32), 0)
    with pytest.raises(SettingError, match=r"\[H A\] is wanted"):
        wire.floats_of(blob, [data], "H A")


def test_figures_of_a_gate():
    figures = {"pooled": 0.9, "worst": 0.5, "passed": False, "limits": {}, "agreement": None}
    assert wire.accuracy(figures) == wire.Accuracy(0.9, 0.5, False)
    for other in ({}, {"pooled": 0.9}, figures | {"worst": "low"}):
        assert wire.accuracy(other) is None


def raw(**fields):
    whole = {"type": "EmbedFrames", "id": 1, "deadline_ns": 1, "frames": clip()} | fields
    return msgspec.msgpack.encode(whole)


def clip(**fields):
    return {"type": "Blob", "shape": [2, 8, 8, 3], "kind": "u1", "part": 0} | fields


def search(**fields):
    plan = {"type": "PlanStart", "goal": clip(), "state": [0.0], "search": fields}
    return raw(**plan)


def test_the_rest_of_these_would_be_read():
    assert wire.TONGUE.read_request(raw()).frames == CLIP
    assert wire.TONGUE.read_request(search(samples=8)).search.samples == 8


@pytest.mark.parametrize(
    "payload",
    [
        raw(pool="all"),
        raw(more=1),
        raw(id=-1),
        raw(frames=clip(shape=[])),
        raw(frames=clip(shape=[1] * 5)),
        raw(frames=clip(shape=[0, 1, 1, 3])),
        raw(frames=clip(shape=[1 << 40, 1, 1, 3])),
        raw(frames=clip(kind="f8")),
        raw(frames=clip(part=wire.MAX_PARTS)),
        raw(frames=clip(part=-1)),
        raw(frames={"type": "Streamed", "stream": "", "n": 0, "count": 1}),
        raw(frames={"type": "Streamed", "stream": "x" * 256, "n": 0, "count": 1}),
        raw(frames={"type": "Streamed", "stream": "x", "n": 0, "count": 257}),
        raw(frames={"type": "Streamed", "stream": "x", "n": -2, "count": 1}),
        raw(type="PredictTemporal", ahead=0),
        raw(type="PredictTemporal", ahead=65),
        raw(type="Shutdown"),
        search(samples=1),
        search(samples=10**6),
        search(iterations=10**6),
        search(horizon=0),
        search(momentum=1.0),
        search(landscape=10**4),
        search(seed=-1),
        raw(type="PlanStart", goal=clip(), state=[float("nan")]),
        raw(type="PlanStart", goal=clip(), state=[0.0] * 65),
        raw(type="PlanStart", goal=clip(), state=[], bounds="x" * (wire.MAX_BOUNDS + 1)),
    ],
)
def test_out_of_bounds(payload):
    with pytest.raises(EngineError):
        wire.TONGUE.read_request(payload)


@given(st.binary(max_size=200))
def test_noise(payload):
    for read in (wire.TONGUE.read_request, wire.TONGUE.read_reply):
        with pytest.raises(EngineError):
            read(payload)


@pytest.mark.parametrize(
    "wrong",
    [{"every": 0}, {"window": -1}, {"window": 257}, {"refresh_s": 0}, {"retention_s": 0},
     {"retention_s": 86401}, {"ahead_s": 11}, {"gate": 3}, {"stream": ""}, {"more": 1}],
)  # fmt: skip
def test_how_a_stream_is_followed_has_its_limits(wrong):
    def asked(**how):
        watched = {"stream": "frames.door"} | how
        return msgspec.msgpack.encode(
            {"type": "Follow", "id": 1, "deadline_ns": 1, "watched": watched}
        )

    assert wire.TONGUE.read_request(asked()).watched == wire.Watched("frames.door")
    with pytest.raises(EngineError):
        wire.TONGUE.read_request(asked(**wrong))
