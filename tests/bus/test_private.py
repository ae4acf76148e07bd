"""A bus of our own: only if there is none, only for us, gone when we are."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jepad.bus import private
from jepad.bus.connection import Connection
from jepad.errors import BusError, SettingError
from jepad.paths import Places

ROOT = Path(__file__).parents[2]


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return Places(f"{tmp_path}/jepad", f"{tmp_path}/state", f"{tmp_path}/toml", "jepad-test")


def test_a_bus_is_started_used_and_removed(places):
    async def body():
        address, bus = await private.session_bus(places)
        with open(places.bus_address_file) as file:
            assert file.read().strip() == address
        assert stat.S_IMODE(os.stat(places.runtime).st_mode) == 0o700
        assert stat.S_IMODE(os.stat(places.bus_address_file).st_mode) == 0o600
        again, other = await private.session_bus(places)
        assert (again, other) == (address, None)
        peer = await Connection.open(address)
        peer.close()
        await bus.close()
        assert os.listdir(places.runtime) == []
        await bus.close()

    asyncio.run(body())


def test_the_session_bus_is_used_if_it_answers(places, bus, monkeypatch):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus.address)
    assert asyncio.run(private.session_bus(places)) == (bus.address, None)
    assert not os.path.exists(places.runtime)


def test_a_dead_address_is_passed_over(places, monkeypatch):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    os.makedirs(places.runtime)
    Path(places.bus_address_file).write_text("unix:path=/nowhere/else\n")

    async def body():
        address, bus = await private.session_bus(places)
        await bus.close()
        return address

    assert asyncio.run(body()) == f"unix:path={places.runtime}/bus"


def test_a_path_with_odd_characters_works(places, tmp_path):
    odd = Places(f"{tmp_path}/a b,c;<d>&%e", places.state, places.config, "x")

    async def body():
        address, bus = await private.session_bus(odd)
        peer = await Connection.open(address)
        peer.close()
        await bus.close()

    asyncio.run(body())


def test_what_cannot_be_says_why(places, tmp_path, monkeypatch):
    long = Places(f"{tmp_path}/{'x' * 120}", places.state, places.config, "x")
    with pytest.raises(BusError, match="too long for a socket"):
        asyncio.run(private.start(long))
    os.symlink("/tmp", places.runtime)
    with pytest.raises(SettingError, match="belongs to somebody else"):
        asyncio.run(private.start(places))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BusError, match="no dbus-daemon"):
        asyncio.run(private.start(places))


def test_the_bus_dies_with_us_however_we_die(places):
    code = (
        "import asyncio, sys\n"
        "from jepad.bus import private\n"
        "from jepad.paths import Places\n"
        "async def main():\n"
        "    bus = await private.start(Places(sys.argv[1], '', '', ''))\n"
        "    print(bus._process.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, places.runtime],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    pid = int(child.stdout.readline())
    os.kill(pid, 0)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    deadline = time.monotonic() + 20
    while running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
