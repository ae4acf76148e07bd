"""`jepactl doctor`: every check, one line each, and what to do about what is broken.

Owns: the look and the exit code. Does not know what is checked.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict

from jepad.cli import output
from jepad.cli.checks import ABSENT, BROKEN, OK, Finding, findings

MARKS = {OK: ("ok", output.GREEN), ABSENT: ("absent", output.DIM), BROKEN: ("broken", output.RED)}


def run(options: Namespace) -> int:
    """The verb; exit code 1 if something is broken, never for what this machine just lacks."""
    found = findings(options.bus)
    broken = sum(finding.state == BROKEN for finding in found)
    if options.json:
        output.say_json({"broken": broken, "checks": [asdict(finding) for finding in found]})
    else:
        width = max(len(finding.name) for finding in found)
        for finding in found:
            output.say(_line(finding, width))
        output.say(f"\n{broken or 'nothing'} broken")
    return 1 if broken else 0


def _line(finding: Finding, width: int) -> str:
    word, code = MARKS[finding.state]
    mark = output.paint(f"{word:<6}", code, on=output.colourful(sys.stdout))
    line = f"{mark}  {output.plain(finding.name):<{width}}  {output.plain(finding.what)}"
    return line + (f"\n{'':8}{'':{width}}  → {output.plain(finding.todo)}" if finding.todo else "")
