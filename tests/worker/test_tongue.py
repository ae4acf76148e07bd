"""Records are read or refused; errors keep their name across the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepad import errors
from jepad.errors import EngineError
from jepad.worker.tongue import Message, Refused, Request, Tongue, encode


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
def test_noise(payload):
    for read in (TONGUE.read_request, TONGUE.read_reply):
        with pytest.raises(EngineError):
            read(payload)


def test_errors_keep_their_name():
    for kind in (errors.Late, errors.DeviceLost, errors.TooLarge, errors.NotFound):
        assert errors.named(kind.bus_name) is kind
    assert errors.named("org.other.Error") is EngineError
    assert issubclass(errors.Late, EngineError)
    assert issubclass(errors.DeviceLost, EngineError)
