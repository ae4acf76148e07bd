"""How far something is: one line on stderr, redrawn, and only on a terminal.

Owns: the bar. Does not know what goes on.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType

from jepad.cli import output

WIDTH = 24
#: Between two redraws of the same words; what comes faster is not read anyway.
GAP_S = 0.1
ERASE = "\r\x1b[K"


class Bar:
    """`with Bar() as bar: bar.show(done, total, "words")`; erased at the end."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._last = 0.0
        self._words = ""

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._on and self._last:
            sys.stderr.write(ERASE)
            sys.stderr.flush()

    def show(self, done: float, total: float, words: str) -> None:
        """`done` of `total`, which is 0 where nobody knows; words of what is going on."""
        now = time.monotonic()
        if not self._on or (now - self._last < GAP_S and words == self._words):
            return
        self._last, self._words = now, words
        share = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
        full = round(WIDTH * share)
        figure = f"[{'#' * full}{'.' * (WIDTH - full)}] {share:4.0%}  " if total > 0 else ""
        sys.stderr.write(f"{ERASE}{figure}{output.plain(words)}")
        sys.stderr.flush()
