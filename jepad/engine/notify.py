"""Tells the service manager that the engine is ready and alive (sd_notify(3)).

Owns: the datagram. Does not know what being alive means.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Silent where nobody listens."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        period = int(environ.get("WATCHDOG_USEC", "0"))
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        #: Twice as often as asked, as sd_watchdog_enabled(3) says; 0 = not asked.
        self.watchdog_ns = period * 1000 // 2 if mine else 0

    def tell(self, message: str) -> None:
        """READY=1, WATCHDOG=1, STOPPING=1, STATUS=…"""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            channel.sendto(message.encode(), address)
