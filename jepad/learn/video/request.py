"""What an import is asked for, and who is told how far it is.

Owns: the record, its defaults. Does not know: how any of it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Tell = Callable[[str, int, int], None]  # stage, done, total
PRECISIONS = ("int8", "fp32")  # of an encoder's graph


@dataclass(frozen=True, slots=True)
class Request:
    """What to import and how."""

    path: str
    root: str  # the library
    name: str | None = None  # None: the preset's, or the file's
    precisions: tuple[str, ...] = ("int8",)
    preset: str | None = None
    licence: str | None = None
    key: str | None = None  # of the encoder in a pickle
    sha256: str | None = None  # that the file must have
    replace: bool = False
    ungated: bool = False  # install even a precision that misses the gate
    probe_of: str | None = None  # directory of the installed model whose tokens this probe reads
    heads: int = 16  # of that probe, in none of its tensors
