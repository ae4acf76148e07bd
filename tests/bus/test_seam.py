"""The seam: which library, and bytes to messages and back under either of them."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepad.bus import address, seam
from jepad.bus.variants import unwrap, wrap, wrap_all
from jepad.errors import BusError

ROOT = Path(__file__).parents[2]
TRIP = """
from jepad.bus import seam
message = seam.Message(
    destination=":1.5", path="/a", interface="a.b", member="M", serial=9, unix_fds=[3, 4],
    signature="a{sv}hh", body=[{"x": seam.Variant("ad", [1.5])}, 0, 1])
frame = bytearray(seam.encode(message))
header, body = seam.sizes(frame)
back = seam.decode(bytearray(frame))
assert len(frame) == header + body and seam.count_fds(frame) == 2
assert back.body[0]["x"].value == [1.5] and back.body[1:] == [0, 1] and back.member == "M"
head = seam.decode_header(frame)
assert (head.serial, head.member, head.body) == (9, "M", [])
for bad in (frame[:20], bytearray(b"l\\1\\0\\1" + b"\\xff" * 40)):
    try:
        seam.decode(bad)
    except ValueError:
        continue
    raise SystemExit("decoded rubbish")
try:
    seam.encode(seam.Message(path="/", member="M", signature="s", body=[7]))
except ValueError:
    print(seam.LIBRARY)
"""


def python(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("library", ["dbus-fast", "dbus-next"])
def test_messages_travel(library):
    done = python(TRIP, JEPAD_DBUS=library)
    assert (done.stdout.strip(), done.stderr) == (library.replace("-", "_"), "")


def test_the_default_is_dbus_fast_and_dbus_next_stands_in():
    assert python("from jepad.bus.seam import LIBRARY; print(LIBRARY)").stdout == "dbus_fast\n"
    without = "import sys; sys.modules['dbus_fast'] = None\n"  # as if it were not installed
    done = python(without + "from jepad.bus.seam import LIBRARY; print(LIBRARY)")
    assert (done.stdout, done.stderr) == ("dbus_next\n", "")


def test_a_choice_that_cannot_be_says_so():
    done = python("import jepad.bus.seam", JEPAD_DBUS="sd-bus")
    assert "SettingError: JEPAD_DBUS='sd-bus': one of dbus-fast, dbus-next" in done.stderr


def test_nothing_else_imports_a_library():
    for path in (ROOT / "jepad").rglob("*.py"):
        if path != ROOT / "jepad/bus/seam.py":
            text = path.read_text()
            assert "import dbus_" not in text, path
            assert "from dbus_" not in text, path


@pytest.mark.parametrize("frame", [b"x" * 16, b"l\1\0\2" + bytes(12)])
def test_what_is_no_dbus_is_told_apart(frame):
    with pytest.raises(ValueError, match="not a D-Bus message"):
        seam.sizes(bytearray(frame))


FRAME = seam.encode(
    seam.Message(
        destination=":1.5",
        path="/a",
        interface="a.b",
        member="M",
        serial=9,
        unix_fds=[3],
        signature="sta{sv}h",
        body=["cpu", 1, {"x": seam.Variant("as", ["y"])}, 0],
    )
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_frame_is_a_value_error_or_a_message(data):
    frame = bytearray(FRAME)
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    del frame[data.draw(st.integers(16, len(frame))) :]
    for read in (seam.sizes, seam.count_fds, seam.decode, seam.decode_header):
        with contextlib.suppress(ValueError):
            read(bytearray(frame))


@pytest.mark.parametrize(
    ("value", "signature"),
    [
        (True, "b"), (-3, "x"), (0.5, "d"), ("x", "s"), (["a"], "as"), ([1, 2], "ax"),
        ([0.5], "ad"), ([], "av"), ([1, "a"], "av"), ({"a": {"b": 1}}, "a{sv}"),
        ([{"a": 1}], "aa{sv}"), ((1.0, 2.0), "ad"),
    ],
)  # fmt: skip
def test_values_get_types_and_come_back(value, signature):
    variant = wrap(value)
    assert variant.signature == signature
    seam.encode(seam.Message(path="/", member="M", signature="v", body=[variant]))
    assert unwrap(variant) == (list(value) if isinstance(value, tuple) else value)


def test_nothing_is_left_out_but_none():
    wrapped = wrap_all({"a": None, "b": [], "c": 1}, {"b": "ad", "c": "t"})
    assert {k: v.signature for k, v in wrapped.items()} == {"b": "ad", "c": "t"}
    with pytest.raises(TypeError, match="no D-Bus type for a object"):
        wrap(object())


def test_addresses():
    text = "tcp:host=x;unix:abstract=/tmp/a%20b,guid=1;unix:path=/run/x,guid=2"
    assert address.sockets(text) == ["\0/tmp/a b", "/run/x"]
    assert address.sockets(address.unix("/a b,c;d%")) == ["/a b,c;d%"]
    for bad in ("", "tcp:host=x", "unix:", "rubbish", "unix:tmpdir=/tmp"):
        with pytest.raises(BusError, match="only unix"):
            address.sockets(bad)
