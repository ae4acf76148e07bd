"""The streams of the jepad that is meant: which prefix, which names, which series.

Owns: choosing between the system's and the session's streams, and the words for a missing one.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence

from jepad import paths
from jepad.cli.suggest import did_you_mean
from jepad.errors import NotFound, RingError
from jepad.records import Series
from jepad.ring.stream import Stream, listing

TELEMETRY = "telemetry"
PREDICTIONS = "predictions.machine"


def places(bus: str) -> paths.Places:
    """Where the system's jepad is, or the session's; `auto`: the system's if it has streams."""
    if bus == "system" or (bus == "auto" and listing(paths.SYSTEM.shm_prefix)):
        return paths.SYSTEM
    return paths.session()


def open_stream(bus: str, name: str) -> Stream:
    """Map a stream, or say what there is instead."""
    prefix = places(bus).shm_prefix
    known = listing(prefix)
    if name in known:
        path = f"/dev/shm/{prefix}.{name}"
        if not os.access(path, os.R_OK):
            raise RingError(
                f"{path}: permission denied. Add yourself to the group that owns it, as in: "
                "sudo usermod -aG jepad $USER\nThen log in again."
            )
        return Stream(prefix, name)
    if not known:
        raise NotFound(
            f"no stream {prefix}.* in /dev/shm: jepad is not running, or you may not read its "
            "streams.\nStart it: jepad --session   or: systemctl start jepad"
        )
    near = did_you_mean(name, known)
    raise NotFound(f"no stream {name!r}{near}. There are: {', '.join(known)}")


def series_of(stream: Stream) -> tuple[Series, ...]:
    """The channels of a stream's first axis; () where its schema names none."""
    listed = stream.header.schema.get("series", [])
    return tuple(Series(s["name"], s["unit"], s["semantics"]) for s in listed)


def names(bus: str) -> list[str]:
    """Names of the telemetry series."""
    with open_stream(bus, TELEMETRY) as stream:
        return [series.name for series in series_of(stream)]


def matching(pattern: str | None, known: Sequence[str]) -> list[int]:
    """Places of the series like `pattern`; all without one."""
    if pattern is None:
        return list(range(len(known)))
    picks = [i for i, name in enumerate(known) if fnmatch.fnmatchcase(name, pattern)]
    if not picks:
        raise NotFound(f"no series like {pattern!r}{did_you_mean(pattern, known)}")
    return picks
