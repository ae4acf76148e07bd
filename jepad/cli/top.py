"""`jepactl top`: the machine and its forecast, once or live.

Owns: the loop, the keys. Does not know what a picture holds.
"""

from __future__ import annotations

import shutil
import sys
import time
from argparse import Namespace

from jepad.cli import output
from jepad.cli.picture import Camera, as_json, lines
from jepad.cli.terminal import Terminal

HELP = "q quits, arrows scroll"


def run(options: Namespace) -> int:
    """The verb; live only where there is a terminal on both ends."""
    camera = Camera(options.bus, options.series)
    if options.json:
        output.say_json(as_json(camera.take()))
    elif options.once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 160
        head, body = lines(camera.take(), width, output.colourful(sys.stdout))
        for line in (*head, *body):
            output.say(line)
    else:
        _live(camera, options.interval)
    return 0


def _live(camera: Camera, interval_s: float) -> None:
    colour = output.colourful(sys.stdout)
    picture, first, key = camera.take(), 0, ""  # an error here must not flash a screen
    due = time.monotonic() + interval_s
    with Terminal() as terminal:
        while key not in ("q", "Q", "\x1b"):
            size = terminal.size()
            if time.monotonic() >= due:
                picture = camera.take()
                due = time.monotonic() + interval_s
            head, body = lines(picture, size.columns, colour)
            room = max(1, size.lines - len(head) - 1)
            first = _scrolled(first, key, room, len(body))
            shown = body[first : first + room]
            blank = [""] * (room - len(shown))
            terminal.draw([*head, *shown, *blank, output.paint(HELP, output.DIM, on=colour)])
            key = terminal.key(max(due - time.monotonic(), 0.0))


def _scrolled(first: int, key: str, room: int, rows: int) -> int:
    """The first row to show after a key."""
    step = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -room, "pagedown": room}.get(key, 0)
    return max(0, min(first + step, rows - room))
