"""A safetensors file written one tensor at a time: no model is in memory twice.

Owns: the layout of the file. Does not know: names, shapes of a model.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple

import torch
from torch import Tensor

from jepad.errors import ModelError

_NAMES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.int64: "I64",
}


class Entry(NamedTuple):
    """What a tensor will be."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return self.dtype.itemsize * int(torch.Size(self.shape).numel())


def raw(tensor: Tensor) -> memoryview:
    """A tensor's bytes, little-endian, without a copy where it is contiguous."""
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")


class TensorFile:
    """`with TensorFile(path, entries, words) as file`: add every tensor, in the entries' order."""

    def __init__(
        self, path: str, entries: Mapping[str, Entry], words: Mapping[str, str] | None = None
    ) -> None:
        self._left = dict(entries)
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
        header: dict[str, object] = {"__metadata__": dict(words)} if words else {}
        at = 0
        for name, entry in entries.items():
            header[name] = {
                "dtype": _NAMES[entry.dtype],
                "shape": list(entry.shape),
                "data_offsets": [at, at + entry.size],
            }
            at += entry.size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._file.write(struct.pack("<Q", len(text)) + text)

    def add(self, name: str, tensor: Tensor) -> None:
        """The next tensor; ModelError if it is not the one announced."""
        due = next(iter(self._left), None)
        if due != name or self._left[name] != Entry(tensor.dtype, tuple(tensor.shape)):
            raise ModelError(f"{self._file.name}: {name} is not the tensor announced ({due})")
        self._file.write(raw(tensor))
        del self._left[name]

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()
        if error is None and self._left:
            raise ModelError(f"{self._file.name}: {next(iter(self._left))} was never written")
