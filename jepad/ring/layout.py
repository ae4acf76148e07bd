"""The bytes of a stream, ABI 1: one table, and what a stream's writer declares.

Owns: `HEADER` and `SLOT`, from which the numpy dtypes are made and against which the C header
and the manual page are held; the declaration of a stream.
Does not know: how records are written or read.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from jepad.errors import RingError, SettingError

MAGIC = b"JEPADSHM"
HEADER_SIZE = 0x1000
MAX_NAME = 47


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the ABI, as C spells it."""

    offset: int
    ctype: str
    name: str
    count: int = 1


HEADER = (
    Field(0x000, "char", "magic", 8),
    Field(0x008, "u32", "byte_order"),
    Field(0x00C, "u16", "abi_major"),
    Field(0x00E, "u16", "abi_minor"),
    Field(0x010, "u32", "header_size"),
    Field(0x014, "u32", "flags"),
    Field(0x018, "u64", "total_size"),
    Field(0x020, "u8", "boot_id", 16),
    Field(0x030, "u64", "generation"),
    Field(0x038, "u64", "layout_hash"),
    Field(0x040, "u32", "kind"),
    Field(0x044, "u8", "dtype_code"),
    Field(0x045, "u8", "bits"),
    Field(0x046, "u16", "lanes"),
    Field(0x048, "u32", "ndim"),
    Field(0x04C, "u32", "reserved"),
    Field(0x050, "u64", "shape", 6),
    Field(0x080, "u64", "slot_count"),
    Field(0x088, "u64", "payload_stride"),
    Field(0x090, "u64", "payload_cap"),
    Field(0x098, "u64", "slothdr_off"),
    Field(0x0A0, "u64", "data_off"),
    Field(0x0A8, "u32", "schema_off"),
    Field(0x0AC, "u32", "schema_len"),
    Field(0x0B0, "char", "name", 48),
    Field(0x0E0, "u8", "model_sha256", 32),
    Field(0x100, "u32", "header_crc32c"),
    Field(0x180, "u64", "head"),
    Field(0x200, "u32", "notify"),
    Field(0x280, "u64", "heartbeat_mono_ns"),
    Field(0x288, "u64", "writer_epoch"),
    Field(0x290, "u32", "pid"),
    Field(0x294, "u32", "state"),
)
SLOT = (
    Field(0x00, "u64", "seq"),
    Field(0x08, "u64", "t_capture_ns"),
    Field(0x10, "u64", "t_publish_ns"),
    Field(0x18, "u32", "len"),
    Field(0x1C, "u32", "flags"),
    Field(0x20, "u32", "crc32c"),
    Field(0x24, "u32", "epoch"),
    Field(0x28, "u64", "source_n"),
    Field(0x30, "u64", "aux", 2),
)
SLOT_SIZE = 64
#: What a reader keeps of the header: all that is set once.
FIXED_SIZE = 0x104

_NUMPY = {"u8": "u1", "u16": "<u2", "u32": "<u4", "u64": "<u8"}


def numpy_dtype(fields: tuple[Field, ...], size: int) -> np.dtype[np.void]:
    """The fields as a packed numpy record of ``size`` bytes."""
    formats: list[Any] = [
        f"S{f.count}"
        if f.ctype == "char"
        else (_NUMPY[f.ctype], (f.count,))
        if f.count > 1
        else _NUMPY[f.ctype]
        for f in fields
    ]
    return np.dtype(
        {
            "names": [f.name for f in fields],
            "formats": formats,
            "offsets": [f.offset for f in fields],
            "itemsize": size,
        }
    )


HEADER_DTYPE = numpy_dtype(HEADER, HEADER_SIZE)
FIXED_DTYPE = numpy_dtype(tuple(f for f in HEADER if f.offset < FIXED_SIZE), FIXED_SIZE)
SLOT_DTYPE = numpy_dtype(SLOT, SLOT_SIZE)

KINDS = {"telemetry": 1, "frames": 2, "embeddings": 3, "predictions": 4}

#: numpy's kind letter to the code of DLPack.
DTYPE_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
_LETTERS = {code: letter for letter, code in DTYPE_CODES.items()}

_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PREFIX = re.compile(r"(/[^\0]*/)?[A-Za-z0-9][A-Za-z0-9_-]*")


def dtype_of(code: int, bits: int, lanes: int) -> np.dtype[Any]:
    """The numpy type of a header's DLPack codes."""
    letter = _LETTERS.get(code)
    if letter is None or lanes != 1 or (letter == "f" and bits == 8):
        raise RingError(f"element type {code}/{bits}/{lanes} has no numpy type")
    return np.dtype(np.bool_) if letter == "b" else np.dtype(f"<{letter}{bits // 8}")


def object_path(prefix: str, stream: str) -> str:
    """Where a stream's object is; a prefix with a directory leaves /dev/shm."""
    if not _PREFIX.fullmatch(prefix):
        raise SettingError(f"{prefix!r} can't be a prefix of streams")
    if not _STREAM.fullmatch(stream) or len(stream) > MAX_NAME or stream.endswith(".lock"):
        raise SettingError(f"{stream!r} can't name a stream")
    return f"{prefix if prefix.startswith('/') else '/dev/shm/' + prefix}.{stream}"


def float_bits(value: float) -> int:
    """A float64 as the 64 bits of an aux word."""
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def bits_float(word: int) -> float:
    """The float64 that an aux word holds."""
    return float(struct.unpack("<d", struct.pack("<Q", word))[0])


@dataclass(frozen=True, slots=True)
class Layout:
    """What a stream is made of; a change of it makes a new object."""

    stream: str
    dtype: DTypeLike
    shape: tuple[int, ...]
    schema: Mapping[str, object]  # becomes JSON
    slots: int  # a power of two, at least 4
    model_sha256: bytes = b""
    payload_crc: bool = False  # each record carries the CRC-32C of its payload

    @property
    def kind(self) -> int:
        """The stream's kind, told by its first name; 0 for any other."""
        return KINDS.get(self.stream.split(".")[0], 0)

    @property
    def element(self) -> np.dtype[Any]:
        """The element type; SettingError if DLPack's codes don't have it."""
        dtype = np.dtype(self.dtype)
        if dtype.kind not in DTYPE_CODES or dtype.byteorder == ">" or dtype.itemsize > 8:
            raise SettingError(f"a stream can't hold elements of type {dtype}")
        return dtype

    def schema_json(self) -> bytes:
        """The same bytes for the same schema: they are part of the layout's hash."""
        text = json.dumps(self.schema, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return text.encode()
