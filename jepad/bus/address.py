"""Where a bus listens: D-Bus address strings to socket addresses.

Owns: parsing and quoting. Does not know: what is spoken there.
"""

from __future__ import annotations

import os
from urllib.parse import quote, unquote

from jepad.errors import BusError

SYSTEM = "unix:path=/run/dbus/system_bus_socket"


def system() -> str:
    """The address of the system bus."""
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM


def session() -> list[str]:
    """Addresses at which the caller's session bus may be, best first."""
    found = [os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime:
        found.append(unix(f"{runtime}/bus"))
    return [address for address in found if address]


def unix(path: str) -> str:
    """The address of a socket in the file system."""
    return f"unix:path={quote(path, safe='/-_.')}"


def sockets(address: str) -> list[str]:
    """The unix socket addresses in a D-Bus address, in order; other transports are left out."""
    found = []
    for part in address.split(";"):
        transport, _, rest = part.partition(":")
        keys = dict(pair.partition("=")[::2] for pair in rest.split(",") if "=" in pair)
        if transport == "unix" and "path" in keys:
            found.append(unquote(keys["path"]))
        elif transport == "unix" and "abstract" in keys:
            found.append("\0" + unquote(keys["abstract"]))
    if not found:
        raise BusError(
            f"cannot use the bus address {address!r}: only unix:path= and unix:abstract= are"
            " supported. Check DBUS_SESSION_BUS_ADDRESS and DBUS_SYSTEM_BUS_ADDRESS"
        )
    return found
