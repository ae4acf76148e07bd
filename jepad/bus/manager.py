"""org.jepad1.Manager: what jepad is and has, and its streams.

Owns: the shape of these answers on the bus. Does not know: how they come about.
"""

from __future__ import annotations

import os

from jepad.bus import schema
from jepad.bus.blobs import sealed
from jepad.bus.dispatch import Adapter, Answer, Call, Rejection
from jepad.bus.usecases import Service
from jepad.bus.variants import clean, wrap_all
from jepad.errors import NotFound
from jepad.guard import validation

#: Dear ones: they look at every stream, or write.
COSTS = {
    "Describe": 2.0,
    "Status": 2.0,
    "ListStreams": 2.0,
    "OpenStream": 2.0,
    "DumpByFileDescriptor": 4.0,
    "Reload": 20.0,
}
STREAM_TYPES = {"name": "s", "shape": "at", "dtype": "s", "head": "x", "state": "s"}


def adapter(service: Service) -> Adapter:
    """The interface over a service."""
    manager = Manager(service)
    return Adapter(
        schema.load("org.jepad1.Manager"),
        methods={
            "Describe": manager.describe,
            "Status": manager.status,
            "DumpByFileDescriptor": manager.dump,
            "ListStreams": manager.list_streams,
            "OpenStream": manager.open_stream,
            "Reload": manager.reload,
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


def privileged(call: Call) -> None:
    """Only root and the user we run as."""
    if call.uid not in (0, os.getuid()):
        raise Rejection("AccessDenied", "only root and the user of jepad may do this")


class Manager:
    """The methods."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def describe(self, _call: Call) -> Answer:
        """JSON."""
        return Answer([self._service.describe()])

    def status(self, _call: Call, colour: bool) -> Answer:
        """Text for a person."""
        return Answer([clean(self._service.status_text(bool(colour)))])

    def dump(self, _call: Call) -> Answer:
        """Status and description as a sealed file, whatever their size."""
        text = f"{self._service.status_text(False)}\n{self._service.describe()}\n"
        return Answer([0], [sealed("jepad-dump", text.encode(errors="replace"))])

    def list_streams(self, _call: Call) -> Answer:
        """One a{sv} a stream."""
        streams = self._service.list_streams()
        return Answer([[wrap_all(stream, STREAM_TYPES) for stream in streams]])

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
