"""What a worker and those who ask it have in common: msgpack records, raw parts beside them.

Owns: base records, encoding, refusal of what is no record. Does not know sockets or any question.
A request carries an absolute CLOCK_MONOTONIC deadline: both ends live on one host.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from jepad.errors import EngineError

#: Raw bytes beside a record.
Part = bytes | memoryview


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Anything said; a reply has the id of its request."""

    id: Annotated[int, Meta(ge=0)]


class Request(Message, frozen=True):
    """Anything asked."""

    deadline_ns: Annotated[int, Meta(ge=0)]


class _Numbered(msgspec.Struct, frozen=True):
    """The only thing read of what is no record; whatever else is in it is skipped."""

    id: Annotated[int, Meta(ge=0)]


class Refused(Message, frozen=True):
    """Why there is no answer; bus_name is that of the JepadError."""

    bus_name: str
    message: str


Q = TypeVar("Q", bound=Request)
A = TypeVar("A", bound=Message)


@dataclass(frozen=True, slots=True)
class Tongue(Generic[Q, A]):
    """What one kind of worker is asked (a union Q of requests), and what it replies (a union A)."""

    worker: str  # its name in words, and of its socket
    requests: Any  # the type Q
    replies: Any  # the type A
    #: A larger part is dropped by ZeroMQ itself, before it costs memory: of a request, of a reply.
    largest: int
    largest_reply: int
    parts: int = 0  # raw parts that may come beside a record
    #: Requests that wait in a socket: bounds what a peer can make a worker hold.
    waiting: int = 1000
    _requests: Any = field(init=False)
    _replies: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_requests", msgspec.msgpack.Decoder(self.requests))
        object.__setattr__(self, "_replies", msgspec.msgpack.Decoder(self.replies))

    def read_request(self, payload: bytes) -> Q:
        """EngineError on anything that is not a request of ours."""
        return _read(self._requests, payload, "request")  # type: ignore[no-any-return]

    def read_reply(self, payload: bytes) -> A:
        """EngineError on anything that is not a reply of ours."""
        return _read(self._replies, payload, "reply")  # type: ignore[no-any-return]


def number(payload: bytes) -> int:
    """The id in what is no record, so that whoever sent it can be told; 0 = none can be found."""
    try:
        return int(_numbers.decode(payload).id)
    except _UNREADABLE:
        return 0


#: A key that is no UTF-8 is a ValueError to msgspec.
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
_numbers = msgspec.msgpack.Decoder(_Numbered)
_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """As bytes for the socket."""
    return _encoder.encode(message)


def _read(decoder: Any, payload: bytes, what: str) -> Any:
    try:
        return decoder.decode(payload)
    except _UNREADABLE as error:
        raise EngineError(f"not a {what}: {error}") from error
