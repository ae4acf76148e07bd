"""A message bus of our own, for a session that has none.

Owns: that dbus-daemon, its socket and the file with its address. Does not know: who uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable

from jepad.bus import address
from jepad.bus.connection import Connection
from jepad.errors import BusError
from jepad.guard import directory
from jepad.paths import Places

START_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 2.0
MAX_SOCKET_PATH = 107
PR_SET_PDEATHSIG = 1
#: No service directories: this bus starts nothing. EXTERNAL admits our own uid alone, so its
#: limits are those of a session. A quoted address needs no quoting of XML.
CONFIG = """<busconfig>
  <type>session</type>
  <listen>{address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
  <limit name="max_replies_per_connection">50000</limit>
  <limit name="max_completed_connections">1000</limit>
  <limit name="max_connections_per_user">1000</limit>
</busconfig>
"""


class PrivateBus:
    """A running dbus-daemon."""

    def __init__(self, process: asyncio.subprocess.Process, where: str, files: list[str]) -> None:
        self._process = process
        self._files = files
        self.address = where

    async def close(self) -> None:
        """Stop it and remove its files."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        for path in self._files:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


async def session_bus(places: Places) -> tuple[str, PrivateBus | None]:
    """The address of the session's bus; if none answers, of one that is started for us.

    A bus that another `jepad --session` started counts: its jepad is found there.
    """
    candidates = address.session()
    with contextlib.suppress(OSError), open(places.bus_address_file) as file:
        candidates.append(file.read(4096).strip())
    for candidate in candidates:
        try:
            connection = await Connection.open(candidate)
        except BusError:
            continue
        connection.close()
        return candidate, None
    private = await start(places)
    return private.address, private


async def start(places: Places) -> PrivateBus:
    """Start a bus in the runtime directory and leave its address beside it."""
    program = shutil.which("dbus-daemon")
    if not program:
        raise BusError(
            "there is no session bus, and no dbus-daemon to start one."
            " Install it: apt install dbus-daemon"
        )
    socket_path = f"{places.runtime}/bus"
    config_path = f"{places.runtime}/bus.conf"
    log_path = f"{places.runtime}/bus.log"
    if len(os.fsencode(socket_path)) > MAX_SOCKET_PATH:
        raise BusError(f"{socket_path} is too long for a socket. Set XDG_RUNTIME_DIR shorter")
    directory.own(places.runtime)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(socket_path)
    where = address.unix(socket_path)
    _write(config_path, CONFIG.format(address=where))
    _write(log_path, "")
    files = [places.bus_address_file, config_path, socket_path, log_path]
    argv = [program, f"--config-file={config_path}", "--nofork", "--nopidfile", "--nosyslog"]
    with open(log_path, "a") as log:
        process = await asyncio.create_subprocess_exec(
            *argv,
            "--print-address",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            preexec_fn=_die_with_us(),
            start_new_session=True,  # Ctrl-C is for us; we stop the bus last
        )
    private = PrivateBus(process, where, files)
    try:
        await _listening(process, log_path)
        _write(places.bus_address_file, where + "\n")
    except BaseException:
        await private.close()
        raise
    return private


async def _listening(process: asyncio.subprocess.Process, log_path: str) -> None:
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
    except TimeoutError:
        line = b""
    if not line:
        with open(log_path) as log:
            raise BusError(f"dbus-daemon did not start: {log.read(1000).strip() or 'no answer'}")


def _write(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(temporary, path)


def _die_with_us() -> Callable[[], None]:
    import ctypes  # only where a bus is started

    libc = ctypes.CDLL(None)  # loaded before the fork
    parent = os.getpid()

    def after_fork() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return after_fork
