"""A terminal taken over for a live picture, and given back whatever happens.

Owns: the alternate screen, key presses, resizes, stops and continues.
Does not know what is shown.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # alternate screen, no cursor, no wrapping
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_SEQUENCES = {b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[5~": "pageup", b"\x1b[6~": "pagedown"}
_ENDS = (signal.SIGTERM, signal.SIGHUP)


class Terminal:
    """`with Terminal() as terminal`: draw, then wait for a key or for the time to pass."""

    def __init__(self) -> None:
        self._saved = termios.tcgetattr(sys.stdin)
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Terminal:
        for number in _ENDS:
            signal.signal(number, _end)
        signal.signal(signal.SIGTSTP, self._stop)
        signal.signal(signal.SIGWINCH, lambda *_: None)  # the wake-up below is what it is for
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        self._take()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._give_back()
        signal.set_wakeup_fd(-1)
        for number in (*_ENDS, signal.SIGTSTP, signal.SIGWINCH):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._wake)
        os.close(self._woken)

    def size(self) -> os.terminal_size:
        """Columns and lines now."""
        return shutil.get_terminal_size()

    def draw(self, lines: Sequence[str]) -> None:
        """Show the lines from the top; one write, so that nothing flickers."""
        shown = lines[: self.size().lines]
        sys.stdout.write("\x1b[H" + "\n".join(line + "\x1b[0m\x1b[K" for line in shown))
        sys.stdout.write("\x1b[J")
        sys.stdout.flush()

    def key(self, timeout_s: float) -> str:
        """A key's name; "" when the time passed, "resize" when there is reason to draw again."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            ready = select.select([sys.stdin, self._wake], [], [], left)[0]
            if self._wake in ready:
                os.read(self._wake, 512)
                return "resize"
            if ready:
                pressed = os.read(sys.stdin.fileno(), 32)
                # An end of input is a terminal that went away.
                return _SEQUENCES.get(pressed, pressed[:1].decode("ascii", "replace") or "q")
        return ""

    def _take(self) -> None:
        tty.setcbreak(sys.stdin)
        sys.stdout.write(ENTER)
        sys.stdout.flush()

    def _give_back(self) -> None:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its terminal as it was; `fg` takes it again."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
