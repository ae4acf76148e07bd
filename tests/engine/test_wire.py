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
    for request in (wire.Ping(1, 2), wire.Predict(3, 4, array, 1.0), wire.Embed(5, 6, array, 0.5)):
        assert wire.read_request(wire.encode(request)) == request


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
