"""The one place that imports a D-Bus library: dbus-fast, or dbus-next through the same names.

Owns: messages to bytes and back. The library does no input or output and answers no call, so
its reader, its writer and its error replies are out of the way whichever of the two it is.
Does not know: sockets, objects, who calls.
"""

from __future__ import annotations

import importlib.util
import io
import os
from typing import TYPE_CHECKING, Any

from jepad.errors import BusError, SettingError

if TYPE_CHECKING:
    from dbus_fast import Message, MessageFlag, MessageType, Variant
    from dbus_fast._private.unmarshaller import Unmarshaller

__all__ = ["LIBRARY", "Message", "MessageFlag", "MessageType", "Variant"]

CHOICES = {"dbus-fast": "dbus_fast", "dbus-next": "dbus_next"}
HEADER_BYTES = 16  # fixed part; the array of fields follows
UNIX_FDS = 9  # the code of that header field
_LITTLE, _BIG = ord("l"), ord("B")
_KNOWN_FLAGS = 0x7


def _choose() -> str:
    """The module to use: JEPAD_DBUS if set, else the first that is installed."""
    wanted = os.environ.get("JEPAD_DBUS", "")
    if wanted and wanted not in CHOICES:
        raise SettingError(f"JEPAD_DBUS={wanted!r}: one of {', '.join(CHOICES)}")
    for module in [CHOICES[wanted]] if wanted else CHOICES.values():
        if importlib.util.find_spec(module):
            return module
    raise BusError(f"no D-Bus library here. Install one: pip install {wanted or 'dbus-fast'}")


LIBRARY = _choose()
if not TYPE_CHECKING:
    _library = importlib.import_module(LIBRARY)
    Message, MessageFlag = _library.Message, _library.MessageFlag
    MessageType, Variant = _library.MessageType, _library.Variant
    Unmarshaller = importlib.import_module(f"{LIBRARY}._private.unmarshaller").Unmarshaller


def encode(message: Message) -> bytes:
    """The bytes of a message; ValueError when the body does not fit the signature."""
    try:
        return bytes(message._marshall(True))
    except Exception as error:  # each library has its own kinds
        raise ValueError(f"{message.member or 'reply'}: {type(error).__name__}: {error}") from error


def decode(frame: bytearray) -> Message:
    """The message in a whole frame; ValueError when the library can't read it."""
    frame[2] &= _KNOWN_FLAGS  # dbus-next refuses flags it does not know; the standard ignores them
    try:
        stream: Any = io.BytesIO(frame)
        message = Unmarshaller(stream).unmarshall()
    except Exception as error:  # each library has its own kinds
        raise ValueError(f"unreadable message: {type(error).__name__}: {error}") from error
    if message is None:
        raise ValueError("unreadable message: it ends early")
    return message


def decode_header(frame: bytearray) -> Message:
    """The message without its body, from the first bytes of a frame too long to take."""
    size, _ = sizes(frame)
    head = frame[:size]
    head[4:8] = bytes(4)
    return decode(head)


def sizes(frame: bytearray) -> tuple[int, int]:
    """Bytes of header and of body, from the first HEADER_BYTES; ValueError if this is no D-Bus."""
    if frame[0] not in (_LITTLE, _BIG) or frame[3] != 1:
        raise ValueError("not a D-Bus message")
    order = _order(frame)
    body = int.from_bytes(frame[4:8], order)
    fields = int.from_bytes(frame[12:16], order)
    return HEADER_BYTES + fields + (-fields & 7), body


def count_fds(frame: bytearray) -> int:
    """How many file descriptors came with this frame: its UNIX_FDS header field.

    Neither library keeps that number, and descriptors must go to the message they came with.
    """
    try:
        return _unix_fds(frame)
    except IndexError as error:
        raise ValueError("header fields end early") from error


def _unix_fds(frame: bytearray) -> int:
    order = _order(frame)
    at, end = HEADER_BYTES, HEADER_BYTES + int.from_bytes(frame[12:16], order)
    while at < end:
        at += -at & 7
        code, signature = frame[at], frame[at + 2 : at + 2 + frame[at + 1]]
        at += 3 + len(signature)
        if signature == b"g":
            at += 2 + frame[at]
            continue
        at += -at & 3
        value = int.from_bytes(frame[at : at + 4], order)
        if code == UNIX_FDS and signature == b"u":
            return value
        at += 4 if signature == b"u" else 5 + value
    return 0


def _order(frame: bytearray) -> Any:
    return "little" if frame[0] == _LITTLE else "big"
