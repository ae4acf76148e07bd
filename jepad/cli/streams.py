"""`jepactl streams`: what lies in shared memory, read from there.

Owns: one line a stream.
"""

from __future__ import annotations

import os
from argparse import Namespace

from jepad.cli import output, rings
from jepad.errors import JepadError
from jepad.ring.stream import Stream, listing


def run(options: Namespace) -> int:
    """The verb; exit code 3 when there is no stream."""
    prefix = rings.places(options.bus).shm_prefix
    known = listing(prefix)
    if options.names:
        for name in known:
            output.say(output.plain(name))
        return 0
    found = [_describe(prefix, name) for name in known]
    if options.json:
        output.say_json({"prefix": prefix, "streams": found})
    elif found:
        rows = [("STREAM", "STATE", "SHAPE", "TYPE", "HEAD", "SIZE")]
        for line in output.table([*rows, *map(_row, found)], left=4):
            output.say(line)
    if not found:
        output.note(f"no stream {prefix}.* in /dev/shm. Start jepad: jepad --session")
        return 3
    return 0


def _describe(prefix: str, name: str) -> dict[str, object]:
    try:
        size = os.stat(f"/dev/shm/{prefix}.{name}").st_size
        with Stream(prefix, name) as stream:
            return {
                "name": name,
                "state": stream.state,
                "shape": list(stream.header.shape),
                "dtype": str(stream.header.dtype),
                "head": stream.head,
                "bytes": size,
                "model_sha256": bytes(stream.header.model_sha256).hex().strip("0"),
            }
    except (JepadError, OSError) as error:
        return {"name": name, "state": "unreadable", "reason": str(error)}


def _row(found: dict[str, object]) -> tuple[str, ...]:
    if "reason" in found:
        return (str(found["name"]), "unreadable", str(found["reason"]), "", "", "")
    shape = "x".join(str(n) for n in found["shape"]) or "1"  # type: ignore[attr-defined]
    size = f"{int(str(found['bytes'])) / 1e6:.1f} MB"
    return (*(str(found[k]) for k in ("name", "state")), shape,
            *(str(found[k]) for k in ("dtype", "head")), size)  # fmt: skip
