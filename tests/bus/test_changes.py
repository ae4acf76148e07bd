"""What changed is told once; a number that is still not known is no change."""

import math

from jepad.bus import schema
from jepad.bus.changes import Changes
from jepad.bus.dispatch import Adapter

SURPRISE = {"Surprise": schema.Property("d", False, "true")}
INTERFACE = schema.Interface("org.jepad1.X", {}, SURPRISE, {}, "")


def test_changes_of_objects_that_come_are_told_at_most_once_a_second():
    told, now, surprise = [], [0.0], [math.nan]
    adapter = Adapter(INTERFACE, {}, {"Surprise": lambda: surprise[0]})
    watched = {}
    changes = Changes(
        watched, lambda path, _, values: told.append((path, set(values))), lambda: now[0]
    )
    watched["/a"] = adapter
    changes.known("/a")
    for value in (math.nan, 1.0, 2.0, 2.0):
        surprise[0] = value
        changes.tell()
        now[0] += 0.6
    assert told == [("/a", {"Surprise"}), ("/a", {"Surprise"})]
