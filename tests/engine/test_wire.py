"""Requests and replies survive the wire; what is not one of them is refused."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepad.engine import wire
from jepad.errors import EngineError


def test_array_survives():
    for dtype in (np.float32, np.float64):
        array = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(dtype)
        back = wire.unpack(wire.pack(array))
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, array)


def test_requests_survive():
    array = wire.pack(np.ones((4, 2), np.float32))
    acts = (wire.Act("freeze", "a"), wire.Act("memory.high", "a", 1e9, 64), wire.Act("", after=1))
    for request in (
        wire.Ping(1, 2),
        wire.Predict(3, 4, array, 1.0),
        wire.Embed(5, 6, array, 0.5),
        wire.Foresee(7, 8, array, ("x", "y"), 1.0, acts),
    ):
        assert wire.read_request(wire.encode(request)) == request


def foresee(*acts, names=("x",)):
    return {
        "type": "Foresee", "id": 1, "deadline_ns": 1, "values": {"shape": [1, 1], "data": b"0000"},
        "series": names, "dt_s": 1.0, "acts": acts,
    }  # fmt: skip


def test_a_question_is_read():
    asked = wire.read_request(msgspec.msgpack.encode(foresee({"kind": "freeze"})))
    assert asked.acts == (wire.Act("freeze"),)


@pytest.mark.parametrize(
    "fields",
    [
        foresee(),
        foresee(*[{"kind": "freeze"}] * (wire.MAX_ACTS + 1)),
        foresee({"kind": "x" * 256}),
        foresee({"kind": "freeze", "unit": "x" * 256}),
        foresee({"kind": "freeze", "after": wire.MAX_AFTER + 1}),
        foresee({"kind": "freeze", "after": -1}),
        foresee({"kind": "freeze", "value": "1"}),
        foresee({"kind": "freeze", "more": 1}),
        foresee({"kind": "freeze"}, names=["x"] * (wire.MAX_CHANNELS + 1)),
        foresee({"kind": "freeze"}, names=["x" * 256]),
    ],
)
def test_questions_out_of_bounds_are_refused(fields):
    with pytest.raises(EngineError):
        wire.read_request(msgspec.msgpack.encode(fields))


@given(st.binary(max_size=200))
def test_noise_is_refused(payload):
    for read in (wire.read_request, wire.read_reply):
        with pytest.raises(EngineError):
            read(payload)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "Ping", "id": -1, "deadline_ns": 1},
        {"type": "Ping", "id": "1", "deadline_ns": 1},
        {"type": "Ping", "id": 1},
        {"type": "Ping", "id": 1, "deadline_ns": 1, "more": 1},
        {"type": "Shutdown", "id": 1, "deadline_ns": 1},
        {
            "type": "Embed",
            "id": 1,
            "deadline_ns": 1,
            "values": {"shape": [1], "data": b""},
            "dt_s": 0,
        },
        {
            "type": "Embed",
            "id": 1,
            "deadline_ns": 1,
            "values": {"shape": [1 << 40, 1], "data": b""},
            "dt_s": 1,
        },
    ],
)
def test_fields_out_of_bounds_are_refused(fields):
    with pytest.raises(EngineError):
        wire.read_request(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize(
    ("shape", "size"), [((4, 2), 31), ((0, 2), 0), ((8,), 32), ((2, 65), 520), ((1, 1, 1), 4)]
)
def test_windows_of_a_wrong_shape_are_refused(shape, size):
    with pytest.raises(EngineError):
        wire.window(wire.Array(shape, bytes(size)))


def test_infinities_become_unknown():
    values = wire.window(wire.pack(np.array([[1.0, np.inf], [2.0, -np.inf]], np.float32)))
    np.testing.assert_array_equal(values, [[1, 2], [np.nan, np.nan]])
