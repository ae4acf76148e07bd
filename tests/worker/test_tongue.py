"""Records are read or refused; errors keep their name across the wire."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jepad import errors
from jepad.errors import EngineError
from jepad.worker.tongue import Message, Refused, Request, Tongue, encode, number


class Ask(Request, frozen=True):
    word: str


class Said(Message, frozen=True):
    word: str


TONGUE = Tongue("parrot", Ask, Said | Refused, 1 << 16, 1 << 16, parts=2, waiting=4)


def test_both_ways():
    assert TONGUE.read_request(encode(Ask(1, 2, "a"))) == Ask(1, 2, "a")
    assert TONGUE.read_reply(encode(Said(1, "a"))) == Said(1, "a")
    assert TONGUE.read_reply(encode(Refused(1, "n", "m"))) == Refused(1, "n", "m")
    with pytest.raises(EngineError, match="not a request"):
        TONGUE.read_request(encode(Said(1, "a")))
    with pytest.raises(EngineError, match="not a reply"):
        TONGUE.read_reply(encode(Ask(1, 2, "a")))


@given(st.binary(max_size=64))
@example(b"\x81\xa7\x00\x00\x00\x00\x00\x00\x80")  # a key that is no UTF-8
def test_noise(payload):
    for read in (TONGUE.read_request, TONGUE.read_reply):
        with pytest.raises(EngineError):
            read(payload)


@given(st.binary(max_size=64))
def test_noise_has_no_number_or_one(payload):
    assert number(payload) >= 0


def test_the_number_of_what_breaks_a_record():
    assert number(msgspec.msgpack.encode({"type": "Ask", "id": 7, "deadline_ns": -1})) == 7
    assert number(msgspec.msgpack.encode({"other": [{}], "id": 8})) == 8
    for odd in ({"id": -1}, {"id": "x"}, [1], {}):
        assert number(msgspec.msgpack.encode(odd)) == 0
    assert number(b"noise") == 0


def test_errors_keep_their_name():
    for kind in (errors.Late, errors.DeviceLost, errors.TooLarge, errors.NotFound):
        assert errors.named(kind.bus_name) is kind
    assert errors.named("org.other.Error") is EngineError
    assert issubclass(errors.Late, EngineError)
    assert issubclass(errors.DeviceLost, EngineError)
