"""The shipped model: its card, its files, and the proof that they are the ones named there.

Owns: finding, verifying, describing. Does not know: any runtime; nothing here computes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from jepad.errors import ModelError

CARD = "machine.json"
GRAPH = "machine.onnx"
WEIGHTS = "machine.safetensors"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A verified model."""

    card: Mapping[str, object]
    onnx_path: str
    digest: str  # SHA-256 of the graph, hex: the model's identity everywhere


def load(path: str | None = None) -> ModelFiles:
    """The model of a directory, of a card or graph in it, or (None) the one that ships."""
    directory = _directory(path)
    card_path = os.path.join(directory, CARD)
    card = _card(card_path)
    files = card.get("files")
    if not isinstance(files, dict) or GRAPH not in files:
        raise ModelError(f"{card_path}: names no file {GRAPH}; reinstall the model")
    strays = [name for name in files if os.path.basename(name) != name]
    if strays:
        raise ModelError(f"{card_path}: file name {strays[0]!r} leaves its directory")
    for name, expected in files.items():
        _verify(os.path.join(directory, name), str(expected))
    return ModelFiles(card, os.path.join(directory, GRAPH), str(files[GRAPH]))


def _directory(path: str | None) -> str:
    if path is None:
        return str(resources.files("jepad.models").joinpath("data"))
    if os.path.isdir(path):
        return path
    if not os.path.exists(path):
        raise ModelError(f"{path}: no such model directory or file")
    return os.path.dirname(os.path.abspath(path))


def _card(path: str) -> dict[str, object]:
    try:
        with open(path, encoding="utf-8") as f:
            card = json.load(f)
    except OSError as e:
        raise ModelError(f"{path}: model card can't be read ({e.strerror})") from e
    except ValueError as e:
        raise ModelError(f"{path}: model card is no JSON ({e})") from e
    if not isinstance(card, dict):
        raise ModelError(f"{path}: model card is no JSON object")
    return card


def _verify(path: str, expected: str) -> None:
    try:
        with open(path, "rb") as f:
            actual = hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as e:
        raise ModelError(f"{path}: model file can't be read ({e.strerror})") from e
    if actual != expected:
        raise ModelError(
            f"{path}: SHA-256 is {actual}, the card says {expected}; "
            "the file is damaged or not the one released: reinstall the model"
        )
