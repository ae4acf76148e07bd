"""A training's state in a file: whole or refused, never half.

Owns: the atomic write, the check of every byte, what a damaged file is answered with.
Does not know: what the state means.
"""

from __future__ import annotations

import os
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import torch

from jepad.errors import ModelError

_AGAIN = "start again without --resume, or restore the file"


def write(path: str, state: Mapping[str, object]) -> None:
    """The whole file or the one before: a kill or a power cut leaves no third."""
    part = f"{path}.part"
    try:
        with open(part, "wb") as f:
            torch.save(dict(state), f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(part, path)
        _settle(os.path.dirname(os.path.abspath(path)))
    except (OSError, RuntimeError) as e:
        raise ModelError(f"{path}: can't save the checkpoint: {e}; the one before is kept") from e


def _settle(directory: str) -> None:
    """So that the new name outlives a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read(path: str, names: frozenset[str]) -> dict[str, Any]:
    """What `write` wrote, with all of `names` in it."""
    try:
        # torch reads past flipped bits; the checksums are zip's.
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
        if bad is not None:
            raise ModelError(f"{path}: damaged checkpoint ({bad}); {_AGAIN}")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        raise ModelError(f"{path}: can't read the checkpoint: {e.strerror}; {_AGAIN}") from e
    except (
        zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, RuntimeError,
        pickle.UnpicklingError,
    ) as e:  # fmt: skip
        raise ModelError(f"{path}: damaged, or no checkpoint at all; {_AGAIN}") from e
    if not isinstance(state, dict) or not names <= state.keys():
        raise ModelError(f"{path}: a torch file, but no checkpoint of this training; {_AGAIN}")
    return state
