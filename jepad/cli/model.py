"""`jepactl model`: the card of a model file, after its digest was checked.

Owns: the look of a card. Does not know how a model works.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from jepad.cli import output
from jepad.models.store import load


def run(options: Namespace) -> int:
    """The verb; a damaged file is an error and names the file."""
    files = load(options.card)
    card = _fields(files.card)
    if options.json:
        output.say_json({"digest": files.digest, "path": str(files.onnx_path), "card": card})
        return 0
    rows = [("digest", f"{files.digest} (checked)"), ("file", str(files.onnx_path))]
    rows += [(key, _short(value)) for key, value in card.items()]
    for line in output.table(rows, left=2):
        output.say(line)
    return 0


def _fields(card: Any) -> dict[str, Any]:
    import msgspec

    out: dict[str, Any] = msgspec.to_builtins(card)
    return out


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " ".join(_short(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
