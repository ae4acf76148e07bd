"""org.jepad1.Manager: what jepad is and has, and its streams.

Owns: the shape of these answers on the bus. Does not know: how they come about.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from jepad.bus import schema
from jepad.bus.blobs import sealed
from jepad.bus.dispatch import Adapter, Answer, Call, Rejection
from jepad.bus.seam import Variant
from jepad.bus.usecases import Service
from jepad.bus.variants import clean, wrap_all
from jepad.errors import NotFound
from jepad.guard import validation

COSTS = {"OpenStream": 2.0, "DumpByFileDescriptor": 4.0, "Reload": 20.0}
STREAM_TYPES = {"name": "s", "shape": "at", "dtype": "s", "head": "x", "state": "s"}


def privileged(call: Call) -> None:
    """Only root and the user we run as."""
    if call.uid not in (0, os.getuid()):
        raise Rejection("AccessDenied", "only root and the user of jepad may do this")


class Manager:
    """The methods; `tick` starts a new tick, whose answers are made anew.

    Whoever asks a thousand times between two samples gets the same words, and costs us little.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._kept: dict[str, object] = {}

    def adapter(self) -> Adapter:
        """The interface over this object."""
        service = self._service
        return Adapter(
            schema.load("org.jepad1.Manager"),
            methods={
                "Describe": self.describe,
                "Status": self.status,
                "DumpByFileDescriptor": self.dump,
                "ListStreams": self.list_streams,
                "OpenStream": self.open_stream,
                "Reload": self.reload,
            },
            getters={
                "Version": lambda: service.version,
                "State": service.state,
                "Mode": service.mode,
                "ModelId": service.model_id,
                "AnomalyScore": service.anomaly_score,
            },
            costs=COSTS,
        )

    def tick(self) -> None:
        """There is news."""
        self._kept.clear()

    def describe(self, _call: Call) -> Answer:
        """JSON."""
        return Answer([self._keep("json", self._service.describe)])

    def status(self, _call: Call, colour: bool) -> Answer:
        """Text for a person."""
        text = self._keep(f"text{colour}", lambda: self._service.status_text(bool(colour)))
        return Answer([clean(str(text))])

    def dump(self, call: Call) -> Answer:
        """Status and description as a sealed file, whatever their size."""
        (status,), (description,) = self.status(call, False).body, self.describe(call).body
        text = f"{status}\n{description}\n"
        return Answer([0], [sealed("jepad-dump", text.encode(errors="replace"))])

    def list_streams(self, _call: Call) -> Answer:
        """One a{sv} a stream."""
        return Answer([self._keep("streams", self._streams)])

    def open_stream(self, _call: Call, name: str) -> Answer:
        """A read-only descriptor of the ring."""
        validation.name(name, "stream")
        entries = [s for s in self._service.list_streams() if s["name"] == name]
        if not entries:
            raise NotFound(f"no stream {name!r}. See: ListStreams")
        return Answer([0, wrap_all(entries[0], STREAM_TYPES)], [self._service.open_stream(name)])

    async def reload(self, call: Call) -> Answer:
        """Read the settings again."""
        privileged(call)
        await self._service.reload()
        return Answer()

    def _streams(self) -> list[dict[str, Variant]]:
        return [wrap_all(stream, STREAM_TYPES) for stream in self._service.list_streams()]

    def _keep(self, name: str, make: Callable[[], object]) -> object:
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]
