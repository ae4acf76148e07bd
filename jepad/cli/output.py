"""What reaches the terminal: colour, tables, numbers, JSON; nothing a terminal could obey.

Owns: the look of text. Does not know where it comes from.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TextIO

BOLD, DIM, RED, YELLOW, GREEN = "1", "2", "31", "33", "32"
#: Control characters but newline and tab, and the C1 set, shown as a visible mark: names of
#: processes and cgroups are chosen by whoever starts them.
_UNSAFE = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")


def colourful(stream: TextIO) -> bool:
    """Whether to colour: a terminal that wants it."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def plain(text: str) -> str:
    """Text without anything a terminal would act on."""
    return text.translate(_UNSAFE)


def styled(text: str) -> str:
    """Text that may carry colours (SGR) and nothing else a terminal would act on."""
    head, *rest = text.split("\x1b")
    return plain(head) + "".join(_escape(piece) for piece in rest)


def _escape(piece: str) -> str:
    code, mark, after = piece.partition("m")
    if mark and code.startswith("[") and not code[1:].strip("0123456789;"):
        return f"\x1b{code}m{plain(after)}"
    return plain("\x1b" + piece)


def paint(text: str, *codes: str, on: bool) -> str:
    """Text in a colour, or as it is."""
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if on and codes else text


def say(text: str = "") -> None:
    """One line of data."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """One line of message, beside the data."""
    sys.stdout.flush()
    sys.stderr.write(plain(text) + "\n")


def say_json(value: Any, *, lines: bool = False) -> None:
    """One JSON value; NaN and infinity become null. `lines`: compact, flushed at once."""
    import json

    indent = 2 if sys.stdout.isatty() and not lines else None
    text = json.dumps(finite(value), ensure_ascii=False, allow_nan=False, indent=indent)
    say(text)
    if lines:
        sys.stdout.flush()


def finite(value: Any) -> Any:
    """The same value in what JSON knows."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def table(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Aligned lines; the first `left` columns to the left, figures to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    out = []
    for row in rows:
        cells = [
            plain(cell).ljust(width) if i < left else plain(cell).rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        out.append("  ".join(cells).rstrip())
    return out
