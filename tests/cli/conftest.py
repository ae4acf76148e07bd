"""A private bus, a peer on it, and jepactl as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def bus(tmp_path):
    """Address of a dbus-daemon of this test alone."""
    daemon = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1",
         f"--address=unix:path={tmp_path}/private%20bus"],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    yield daemon.stdout.readline().strip()
    daemon.terminate()
    daemon.wait(10)
    daemon.stdout.close()


@pytest.fixture
def peer(bus):
    """A small org.jepad1 on that bus."""
    process = subprocess.Popen(
        [sys.executable, HERE / "peer.py", bus], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait(10)
    process.stdout.close()


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment in which no other jepad, bus or settings exist."""
    for name in ("DBUS_SESSION_BUS_ADDRESS", "NO_COLOR", "JEPAD_CONFIG", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/no-system-bus")
    monkeypatch.setenv("TERM", "xterm-256color")
    return os.environ


@pytest.fixture
def on_bus(environment, bus, peer, monkeypatch):
    """The same, with the peer as the user's own jepad."""
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus)
    return environment


@pytest.fixture
def jepactl(environment):
    """Run jepactl to its end."""

    def run(*args, **options):
        return subprocess.run(
            [sys.executable, "-m", "jepad.cli", *args],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            **options,
        )

    return run
