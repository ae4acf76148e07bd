"""Results that were computed already.

Owns: what counts as the same question, how much is kept. Does not know what a result means.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Held at most, of arrays.
LARGEST = 128 << 20


class Key(NamedTuple):
    """The model, what went in, how far ahead: nothing else changes a result."""

    model: str
    inputs: str
    horizon: int = 0


class Cache:
    """Least recently used results go first. One thread uses it."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._kept: OrderedDict[Key, NDArray[Any]] = OrderedDict()
        self._largest = largest
        self.bytes = self.hits = self.misses = 0

    def get(self, key: Key) -> NDArray[Any] | None:
        """None if it has to be computed. Read-only: others get it too."""
        found = self._kept.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return found

    def put(self, key: Key, array: NDArray[Any]) -> None:
        """An array larger than all the room is not kept."""
        if array.nbytes > self._largest or key in self._kept:
            return
        if array.base is not None:
            array = array.copy()  # a row would keep its whole batch alive
        array.flags.writeable = False
        self._kept[key] = array
        self.bytes += array.nbytes
        while self.bytes > self._largest:
            self.bytes -= self._kept.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Nothing is known any more."""
        self._kept.clear()
        self.bytes = 0


def digest(arrays: Iterable[NDArray[Any]], *words: object) -> str:
    """Of arrays, with their shapes, and whatever else makes a difference."""
    made = hashlib.sha256(repr(words).encode())
    for array in arrays:
        made.update(f"{array.dtype.str}{array.shape}".encode())
        made.update(np.ascontiguousarray(array).data)
    return made.hexdigest()
