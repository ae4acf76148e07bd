"""org.jepad1.Camera: one camera as everybody may see it, and its line in a list.

Owns: the shape of these answers. Does not know: how a camera is kept, what it sees.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jepad.bus import schema
from jepad.bus.dispatch import Adapter
from jepad.bus.seam import Variant
from jepad.bus.variants import clean, wrap_all
from jepad.paths import OBJECT_PATH

if TYPE_CHECKING:
    from jepad.policy.cameras import Cameras
    from jepad.policy.live import Live

INTERFACE = "org.jepad1.Camera"
ROW_TYPES = {
    "object": "o", "frames": "t", "dropped": "t", "filters": "as", "streams": "as",
}  # fmt: skip
READER_TYPES = {"pid": "t", "uid": "t"}
MAX_WORDS = 1024


def path(name: str) -> str:
    """Where it is on the bus."""
    return f"{OBJECT_PATH}/camera/{name}"


def adapter(cameras: Cameras, live: Live) -> Adapter:
    """The interface over a camera."""
    return Adapter(
        schema.load(INTERFACE),
        methods={},
        getters={
            "Name": lambda: live.name,
            "Source": lambda: clean(live.shown),
            "Identity": lambda: clean(live.identity_shown),
            "Allowed": lambda: live.allowed,
            "State": lambda: live.state,
            "Reason": lambda: clean(live.reason)[:MAX_WORDS],
            "Learned": lambda: live.followed.learned,
            "Present": lambda: live.present,
            "Surprise": lambda: live.surprise,
            "Filters": lambda: [clean(words) for words in live.filters],
            "Streams": live.streams,
            "Frames": lambda: live.count("published"),
            "Dropped": lambda: live.count("dropped"),
            "Numbers": live.numbers,
            "Readers": lambda: _readers(cameras, live.name),
            "Unseen": lambda: cameras.readers(live.name).unseen,
        },
    )


def row(live: Live) -> dict[str, Variant]:
    """A camera in a list."""
    body: dict[str, object] = {
        "name": live.name,
        "object": path(live.name),
        "source": live.shown,
        "identity": live.identity_shown,
        "product": live.product,
        "allowed": live.allowed,
        "plugged": live.plugged,
        "state": live.state,
        "reason": live.reason[:MAX_WORDS],
        "present": live.present,
        "surprise": live.surprise,
        "frames": live.count("published"),
        "dropped": live.count("dropped"),
        "filters": [clean(words) for words in live.filters],
        "learned": live.followed.learned,
        "streams": live.streams(),
        "settings": json.dumps(dict(live.options)),
    }
    return wrap_all(body, ROW_TYPES)


def _readers(cameras: Cameras, name: str) -> list[dict[str, Variant]]:
    rows = [
        {
            "stream": reader.stream,
            "pid": reader.pid,
            "uid": reader.uid,
            "program": reader.program,
            "writes": reader.writes,
        }
        for reader in cameras.readers(name).found
    ]
    return [wrap_all(row, READER_TYPES) for row in rows]
