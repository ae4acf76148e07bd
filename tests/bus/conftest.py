"""A private bus, a served jepad on it under either library, and callers."""

import asyncio
import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from jepad.bus.connection import Connection
from jepad.bus.seam import Message
from jepad.bus.variants import unwrap

LIBRARIES = ("dbus-fast", "dbus-next")
ROOT = Path(__file__).parents[2]
CONFIG = """<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy><limit name="max_replies_per_connection">50000</limit></busconfig>"""


@dataclass
class Bus:
    """A dbus-daemon of these tests."""

    address: str
    process: subprocess.Popen


@contextlib.contextmanager
def running(argv, **options):
    """A child process that has said its first line; stopped by its pid."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, **options)
    try:
        process.first_line = process.stdout.readline().strip()
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def private_bus(directory):
    """A bus in a directory."""
    (directory / "bus.conf").write_text(CONFIG.format(path=directory / "bus"))
    argv = ["dbus-daemon", f"--config-file={directory}/bus.conf", "--nofork", "--print-address"]
    with running(argv, stderr=subprocess.DEVNULL) as process:
        yield Bus(f"unix:path={directory}/bus", process)


@dataclass
class Served:
    """jepad on a bus, in a process of its own."""

    address: str
    bus: subprocess.Popen
    process: subprocess.Popen
    library: str
    log: Path

    def ask(self, member, signature="", *body, **where):
        """One call from a connection of its own; the reply's arguments."""
        return asyncio.run(self._ask(member, signature, body, where))

    async def _ask(self, member, signature, body, where):
        async with self.connect() as peer:
            reply = await peer.call(self.message(member, signature, *body, **where))
            return reply.body if not reply.unix_fds else (reply.body, reply.unix_fds)

    def facts(self):
        """What the server says of itself."""
        return unwrap(self.ask("GetWorldState")[0])["facts"]

    @contextlib.asynccontextmanager
    async def connect(self):
        """A connection that takes long replies."""
        peer = await Connection.open(self.address, max_body=64 << 20)
        try:
            yield peer
        finally:
            peer.close()

    @staticmethod
    def message(member, signature="", *body, path="/org/jepad1", interface=None):
        """A call to jepad; without an interface unless told."""
        return Message(
            destination="org.jepad1",
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )


@contextlib.contextmanager
def served(bus, library, directory, *arguments):
    """jepad on a bus."""
    log = directory / "stderr"
    with open(log, "w") as stderr:
        argv = [sys.executable, str(ROOT / "tests/bus/server.py"), bus.address, *arguments]
        env = os.environ | {"JEPAD_DBUS": library, "PYTHONPATH": str(ROOT)}
        with running(argv, env=env, stderr=stderr) as process:
            assert process.first_line == "ready", log.read_text()
            yield Served(bus.address, bus.process, process, library, log)


@pytest.fixture(scope="module", params=LIBRARIES)
def jepad(request, tmp_path_factory):
    """jepad served through each of the libraries."""
    directory = tmp_path_factory.mktemp("bus")
    with private_bus(directory) as bus, served(bus, request.param, directory) as found:
        yield found


@pytest.fixture
def bus(tmp_path):
    """A bus with nobody on it."""
    with private_bus(tmp_path) as found:
        yield found
