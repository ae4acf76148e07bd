"""Asks systemd for the unit of a camera.

Owns: that one call. Does not know: which camera, or who allowed it. A polkit rule that ships with
jepad lets user jepad start these units and no others.
"""

from __future__ import annotations

from jepad.bus.connection import Connection
from jepad.bus.seam import Message
from jepad.errors import NotReady

NAME, PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
TIMEOUT_S = 10.0


class Units:
    """Through the connection to the bus that systemd is on, once there is one."""

    def __init__(self) -> None:
        self.connection: Connection | None = None

    async def start(self, unit: str) -> None:
        """Nothing happens to one that runs. BusError says why it can't be."""
        if self.connection is None:
            raise NotReady("there is no bus to ask systemd on")
        await self.connection.call(
            Message(
                destination=NAME,
                path=PATH,
                interface=f"{NAME}.Manager",
                member="StartUnit",
                signature="ss",
                body=[unit, "replace"],
            ),
            TIMEOUT_S,
        )
