"""Our bytes against dbus-fast's: what one writes the other reads."""

import contextlib
import io
import struct

import pytest
from dbus_fast import Message, MessageType, Variant
from dbus_fast._private.unmarshaller import Unmarshaller
from hypothesis import given
from hypothesis import strategies as st

from jepad.cli import wire

TARGET = ("org.jepad1", "/org/jepad1", "org.jepad1.Manager", "Describe")


def theirs(signature, body):
    """A reply as dbus-fast writes it."""
    message = Message(
        message_type=MessageType.METHOD_RETURN,
        reply_serial=7,
        signature=signature,
        body=body,
        serial=3,
    )
    return bytes(message._marshall(False))


@pytest.mark.parametrize(
    ("signature", "body", "expected"),
    [
        ("s", ["héllo"], ["héllo"]),
        ("ybnqiuxtd", [1, True, -2, 3, -4, 5, -6, 7, 0.5], [1, True, -2, 3, -4, 5, -6, 7, 0.5]),
        ("as", [["a", "", "c"]], [["a", "", "c"]]),
        ("ax", [[]], [[]]),
        ("a{sv}", [{"d": Variant("d", 1.5), "a": Variant("as", ["x"])}], [{"d": 1.5, "a": ["x"]}]),
        ("(so)v", [["a", "/b"], Variant("(tt)", [1, 2])], [("a", "/b"), (1, 2)]),
        ("a(sstddd)", [[["n", "u", 1, 2.0, 3.0, 4.0]]], [[("n", "u", 1, 2.0, 3.0, 4.0)]]),
        ("a{s(dtss)}", [{"m": [0.5, 9, "u", "c"]}], [{"m": (0.5, 9, "u", "c")}]),
        ("aay", [[b"ab", b""]], [[[97, 98], []]]),
        ("g", ["a{sv}"], ["a{sv}"]),
    ],
)
def test_reads_what_dbus_fast_writes(signature, body, expected):
    data = theirs(signature, body)
    assert wire.size(data[: wire.HEADER]) == len(data)
    message = wire.parse(data)
    assert message.body == expected
    assert (message.kind, message.reply_to) == (wire.METHOD_RETURN, 7)


@pytest.mark.parametrize(
    ("signature", "args", "expected"),
    [
        ("", [], []),
        ("b", [True], [True]),
        ("s", ["x"], ["x"]),
        ("sta{sv}", ["memory", 60_000_000, {}], ["memory", 60_000_000, {}]),
        ("a{sv}", [{"k": ("t", 9)}], [{"k": Variant("t", 9)}]),
        ("ya(is)", [1, [(2, "b")]], [1, [(2, "b")]]),
    ],
)
def test_dbus_fast_reads_what_we_write(signature, args, expected):
    data = wire.call(9, TARGET, signature, args)
    message = Unmarshaller(io.BytesIO(data)).unmarshall()
    assert message.body == expected
    assert message.serial == 9
    assert (message.destination, message.path, message.interface, message.member) == TARGET
    assert message.flags.name == "NO_AUTOSTART"


def test_reads_big_endian():
    body = struct.pack(">I", 5) + b"hello\0"
    header = b"B\x02\0\x01" + struct.pack(">II", len(body), 1)
    array = b"\x08\x01g\0\x01s\0"
    data = header + struct.pack(">I", len(array)) + array
    data += bytes(-len(data) % 8) + body
    assert wire.parse(data).body == ["hello"]


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused_not_obeyed(noise):
    with pytest.raises((ValueError, LookupError, struct.error)):
        wire.parse(b"l\x02\0\x01" + noise[:8].ljust(8, b"\xff") + b"\xff\xff\xff\x00" + noise)


@given(st.data())
def test_a_damaged_message_never_hangs_or_crashes(data):
    good = bytearray(theirs("a{sv}as", [{"k": Variant("as", ["x", "y"])}, ["a", "b"]]))
    at = data.draw(st.integers(16, len(good) - 1))
    good[at] = data.draw(st.integers(0, 255))
    # The connection turns these into a BusError.
    known = (ValueError, LookupError, struct.error, TypeError, RecursionError)
    with contextlib.suppress(*known):
        wire.parse(bytes(good))


def test_an_array_of_nothing_ends():
    body = struct.pack("<IB3x", 8, 0) + bytes(8)
    array = b"\x08\x01g\0\x03a()\0"
    head = b"l\x02\0\x01" + struct.pack("<III", len(body), 1, len(array))
    with pytest.raises(ValueError, match="nothing"):
        wire.parse((head + array).ljust(32, b"\0") + body)


def test_a_giant_is_refused_before_it_is_awaited():
    with pytest.raises(ValueError, match="bytes"):
        wire.size(b"l\x02\0\x01" + struct.pack("<III", 1 << 30, 1, 8))
