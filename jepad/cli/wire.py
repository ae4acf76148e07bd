"""The D-Bus wire format: messages to bytes and back.

Owns: marshalling of every basic and container type. Does not know sockets, names or jepad.
Written by hand because `jepactl status` must not wait for an import: this costs 1 ms,
dbus-fast 75 ms, ctypes with libsystemd 5 ms.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

METHOD_CALL, METHOD_RETURN, ERROR, SIGNAL = 1, 2, 3, 4
#: Of a call: don't start the service to answer it.
NO_AUTO_START = 0x2
#: The fixed part of every header, up to and with the length of the header fields.
HEADER = 16
#: No message of the bus is longer (the specification's own limit).
LONGEST = 128 << 20

_FIXED = {
    "y": ("B", 1), "b": ("I", 4), "n": ("h", 2), "q": ("H", 2), "i": ("i", 4), "u": ("I", 4),
    "x": ("q", 8), "t": ("Q", 8), "d": ("d", 8), "h": ("I", 4),
}  # fmt: skip
_ALIGN = {"s": 4, "o": 4, "a": 4, "(": 8, "{": 8} | {c: size for c, (_, size) in _FIXED.items()}
_FIELDS = {
    1: "path", 2: "interface", 3: "member", 4: "error", 5: "reply_to", 7: "sender",
    9: "descriptors",
}  # fmt: skip


class Message:
    """One message that came in."""

    __slots__ = (
        "body", "descriptors", "error", "files", "interface", "kind", "member", "path",
        "reply_to", "sender",
    )  # fmt: skip

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.path = self.interface = self.member = self.error = self.sender = ""
        self.reply_to = self.descriptors = 0
        self.body: list[Any] = []
        #: Descriptors that came with it: an "h" in the body is an index here.
        self.files: list[int] = []


def call(
    serial: int, target: tuple[str, str, str, str], signature: str, args: list[Any], files: int = 0
) -> bytes:
    """A method call to (destination, path, interface, member), little-endian; so many
    descriptors go with it."""
    destination, path, interface, member = target
    fields: list[tuple[int, tuple[str, Any]]]
    fields = [(1, ("o", path)), (2, ("s", interface)), (3, ("s", member)), (6, ("s", destination))]
    if signature:
        fields.append((8, ("g", signature)))
    if files:
        fields.append((9, ("u", files)))
    body = bytearray()
    for kind, value in zip(split(signature), args, strict=True):
        _put(body, kind, value)
    out = bytearray(struct.pack("<cBBBII", b"l", METHOD_CALL, NO_AUTO_START, 1, len(body), serial))
    _put(out, "a(yv)", fields)
    _pad(out, 8)
    return bytes(out + body)


def size(head: bytes) -> int:
    """Length of the whole message that begins with these HEADER bytes."""
    order = _order(head)
    body, _, fields = struct.unpack_from(order + "III", head, 4)
    total = int(HEADER + (fields + 7) // 8 * 8 + body)
    if total > LONGEST:
        raise ValueError(f"a message of {total} bytes")
    return total


def parse(data: bytes) -> Message:
    """Decode one whole message; ValueError, IndexError or struct.error if it is none."""
    reader = _Reader(data, _order(data))
    message = Message(data[1])
    reader.at = 12
    signature = ""
    for code, value in reader.value("a(yv)"):
        if code == 8:
            signature = value
        elif code in _FIELDS:
            setattr(message, _FIELDS[code], value)
    reader.align(8)
    message.body = [reader.value(kind) for kind in split(signature)]
    return message


def split(signature: str) -> list[str]:
    """The single complete types of a signature."""
    out, at = [], 0
    while at < len(signature):
        end = _end(signature, at)
        out.append(signature[at:end])
        at = end
    return out


def _end(signature: str, at: int) -> int:
    first = signature[at]
    if first == "a":
        return _end(signature, at + 1)
    if first not in "({":
        return at + 1
    at += 1
    while signature[at] not in ")}":
        at = _end(signature, at)
    return at + 1


def _order(data: bytes) -> str:
    return {0x6C: "<", 0x42: ">"}[data[0]]


def _pad(out: bytearray, to: int) -> None:
    out += bytes(-len(out) % to)


def _put(out: bytearray, kind: str, value: Any) -> None:
    """Append one value; a variant is the pair (signature, value)."""
    _pad(out, _ALIGN.get(kind[0], 1))
    if kind in _FIXED:
        out += struct.pack("<" + _FIXED[kind][0], value)
    elif kind in "so":
        text = value.encode()
        out += struct.pack("<I", len(text)) + text + b"\0"
    elif kind == "g":
        out += bytes([len(value)]) + value.encode() + b"\0"
    elif kind == "v":
        _put(out, "g", value[0])
        _put(out, *value)
    elif kind[0] == "a":
        _put_array(out, kind[1:], value)
    else:  # a struct or a dict entry
        for part, item in zip(split(kind[1:-1]), value, strict=True):
            _put(out, part, item)


def _put_array(out: bytearray, kind: str, value: Any) -> None:
    at = len(out)
    out += b"\0\0\0\0"
    _pad(out, _ALIGN.get(kind[0], 1))
    start = len(out)
    for item in value.items() if isinstance(value, dict) else value:
        _put(out, kind, item)
    struct.pack_into("<I", out, at, len(out) - start)


class _Reader:
    """Reads values from a message, at alignments counted from its beginning."""

    __slots__ = ("at", "data", "order")

    def __init__(self, data: bytes, order: str) -> None:
        self.data = data
        self.order = order
        self.at = 0

    def align(self, to: int) -> None:
        self.at += -self.at % to

    def fixed(self, kind: str) -> Any:
        code, length = _FIXED[kind]
        self.align(length)
        (value,) = struct.unpack_from(self.order + code, self.data, self.at)
        self.at += length
        return bool(value) if kind == "b" else value

    def text(self, length: int) -> str:
        end = self.at + length
        value = self.data[self.at : end].decode()
        self.at = end + 1
        return value

    def value(self, kind: str) -> Any:
        if kind in _FIXED:
            return self.fixed(kind)
        if kind in "so":
            return self.text(self.fixed("u"))
        if kind == "g":
            return self.text(self.fixed("y"))
        if kind == "v":
            return self.value(self.value("g"))
        if kind[0] == "a":
            return self.array(kind[1:])
        self.align(8)
        return tuple([self.value(part) for part in split(kind[1:-1])])

    def array(self, kind: str) -> Any:
        length = self.fixed("u")
        self.align(_ALIGN.get(kind[0], 1))
        end = self.at + length
        if end > len(self.data):
            raise ValueError("an array longer than its message")
        items = []
        while self.at < end:
            before = self.at
            items.append(self.value(kind))
            if self.at == before:
                raise ValueError("an array of nothing")
        return dict(items) if kind[0] == "{" else items
