"""From an address to a bus that knows who we are.

Owns: connecting and authentication. Does not know: messages. The caller sets the deadline.
"""

from __future__ import annotations

import asyncio
import os
import socket

from jepad.bus import address as addresses
from jepad.errors import BusError

MAX_LINE = 4096


async def connect(address: str) -> socket.socket:
    """An authenticated, non-blocking socket that passes descriptors."""
    error: OSError | None = None
    for path in addresses.sockets(address):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, path)
            await _authenticate(sock)
        except OSError as why:
            sock.close()
            error = why
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise BusError(f"cannot reach the bus at {address}: {error}. Is dbus running there?")


async def _authenticate(sock: socket.socket) -> None:
    """EXTERNAL: the bus knows our uid from the socket."""
    loop = asyncio.get_running_loop()
    uid = str(os.getuid()).encode().hex()
    steps = (
        (f"\0AUTH EXTERNAL {uid}\r\n", b"OK "),
        ("NEGOTIATE_UNIX_FD\r\n", b"AGREE_UNIX_FD"),
    )
    for say, expect in steps:
        await loop.sock_sendall(sock, say.encode())
        answer = b""
        while not answer.endswith(b"\r\n") and len(answer) < MAX_LINE:
            data = await loop.sock_recv(sock, MAX_LINE)
            if not data:
                break
            answer += data
        if not answer.startswith(expect):
            raise BusError(f"the bus refused to let us in: {answer.decode(errors='replace')!r}")
    await loop.sock_sendall(sock, b"BEGIN\r\n")
