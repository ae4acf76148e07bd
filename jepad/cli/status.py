"""`jepactl status`: is it running, what does it see, what does it expect.

Owns: the two forms of the answer. Imports next to nothing: most calls of jepactl end here.
"""

from __future__ import annotations

import sys

from jepad.cli.bus import Absent, Client
from jepad.cli.output import colourful, say_json, styled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

MANAGER = "org.jepad1.Manager"


def run(options: Namespace) -> int:
    """The verb, with its options parsed."""
    if not options.json:
        return show(options.bus)
    import json

    client = Client(options.bus)
    try:
        (text,) = client.call(MANAGER, "Describe")
    except Absent as error:
        say_json({"state": "stopped", "reason": str(error).splitlines()[0]})
        raise
    say_json({"bus": client.which, **json.loads(text)})
    return 0


def show(choice: str) -> int:
    """The text that the daemon wrote for us; it knows best what matters now."""
    client = Client(choice)
    (text,) = client.call(MANAGER, "Status", "b", colourful(sys.stdout))
    sys.stdout.write(styled(text).rstrip("\n") + f"\n        Bus: {client.which}\n")
    return 0
