"""One camera as it is now: what its process says, put so that it may be told to others.

Owns: the state in words, presence and surprise without flicker. Does not know: D-Bus, who keeps
the process, which cameras there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from jepad.camera import wire
from jepad.guard import feeds

State = Literal[
    "unknown", "denied", "unplugged", "starting", "running", "waiting", "ended", "failed"
]
Event = Literal["arrived", "left"]
#: A surprise is told anew when it began or ended, or moved by so much, and by such a share.
STEP, SHARE = 2.0, 0.5
NUMBERS = ("size", "fps", "width", "height", "rate", "position_s", "length_s", "behind_s")


class Process(Protocol):
    """Whoever keeps the camera's process."""

    @property
    def state(self) -> str:
        """As a keeper says: running once it answers."""

    @property
    def reason(self) -> str:
        """Why it ended last, or can't be reached."""

    @property
    def restarts(self) -> int:
        """How often it began anew."""

    @property
    def seen(self) -> wire.Seen | None:
        """What it said last."""

    async def start(self) -> None:
        """Begin; returns at once."""

    async def stop(self) -> None:
        """Leave nothing behind."""

    async def leave(self) -> None:
        """We end: a child ends with us, a unit goes on."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What the model of pictures makes of it."""

    embeddings: str = ""  # the stream, "" while there is none
    predictions: str = ""
    learned: bool = False
    why: str = ""  # why there is none, or less than there might be


@dataclass
class Live:
    """A camera that is known by name; `process` only while it may look."""

    name: str
    identity: str
    source: str
    product: str = ""
    allowed: bool = False
    plugged: bool = True
    asked: bool = True  # by a person; else it was just found
    fault: str = ""  # why it could not be started
    options: Mapping[str, object] = field(default_factory=dict)
    node: str = ""  # of a device
    opened: str = ""  # the source its process was given
    process: Process | None = None
    followed: Followed = field(default_factory=Followed)
    present: bool = False
    surprise: float = math.nan
    _surprising: bool = False

    @property
    def seen(self) -> wire.Seen | None:
        """What its process said last."""
        return self.process.seen if self.process else None

    @property
    def may_look(self) -> bool:
        """A person said so, and it is there."""
        return self.asked and self.allowed and self.plugged

    @property
    def state(self) -> State:
        """In one word."""
        if not self.asked:
            return "unknown"
        if not self.allowed:
            return "denied"
        if not self.plugged:
            return "unplugged"
        if self.fault or self.process is None:
            return "failed" if self.fault else "starting"
        seen = self.process.seen
        if self.process.state == "failed":
            return "failed"
        return seen.state if seen and self.process.state == "running" else "starting"

    @property
    def reason(self) -> str:
        """Why it is not all it should be; "" when all is well."""
        process, seen = self.process, self.seen
        if self.fault or process is None:
            return self.fault
        if seen is None or process.state != "running":
            return process.reason
        return "; ".join(words for words in (seen.reason, seen.filter_state) if words)

    @property
    def shown(self) -> str:
        """Its source, without a password."""
        return feeds.shown(self.source)

    @property
    def identity_shown(self) -> str:
        """The same of its identity, which of an address is the address."""
        return feeds.shown(self.identity)

    @property
    def filters(self) -> tuple[str, ...]:
        """In words, as they are in force."""
        return self.seen.filters if self.seen else ()

    def count(self, name: str) -> int:
        """One of its counts, 0 before its first word."""
        return self.seen.counts.get(name, 0) if self.seen else 0

    def numbers(self) -> dict[str, float]:
        """All its figures."""
        seen = self.seen
        if seen is None:
            return {}
        body = {name: float(value) for name, value in seen.counts.items()}
        body |= {name: float(getattr(seen, name)) for name in NUMBERS}
        restarts = self.process.restarts if self.process else 0
        body |= {"presence": float(seen.presence), "surprise": float(seen.surprise)}
        return body | {"restarts": float(restarts)}

    def streams(self) -> list[str]:
        """Those that carry what it sees, while they can be opened."""
        if self.state != "running":
            return [s for s in (self.followed.embeddings, self.followed.predictions) if s]
        own = [f"frames.{self.name}", f"motion.{self.name}"]
        return [*own, *(s for s in (self.followed.embeddings, self.followed.predictions) if s)]

    def summary(self) -> dict[str, object]:
        """In a few words."""
        return {
            "name": self.name,
            "source": self.shown,
            "allowed": self.allowed,
            "state": self.state,
            "reason": self.reason,
            "present": self.present,
            "frames": self.count("published"),
            "dropped": self.count("dropped"),
            "learned": self.followed.learned,
            "streams": self.streams(),
            "model": self.followed.why,
        }

    def line(self) -> str:
        """The same as text."""
        words = [f"{self.name}: {self.state}"]
        words += ["somebody in view"] if self.present else []
        words += [self.reason] if self.reason else []
        return ", ".join(words)

    def update(self) -> Event | None:
        """Take what its process says now; whether somebody came or went by it. Of a camera that
        does not look nobody is said to be there."""
        seen = self.seen if self.state == "running" else None
        before, self.present = self.present, bool(seen and seen.present)
        self._feel(seen)
        if self.present == before:
            return None
        return "arrived" if self.present else "left"

    def _feel(self, seen: wire.Seen | None) -> None:
        if seen is None:
            self.surprise, self._surprising = math.nan, False
            return
        step = max(STEP, SHARE * self.surprise) if self.surprise == self.surprise else 0.0
        moved = step == 0.0 or abs(seen.surprise - self.surprise) >= step
        if moved or seen.surprising != self._surprising:
            self.surprise, self._surprising = float(seen.surprise), seen.surprising
