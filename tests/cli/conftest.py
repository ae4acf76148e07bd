"""A private bus, a peer on it, and jepactl as a user runs it."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jepad.cli.bus import Client

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


@pytest.fixture
def pseudo(environment):
    """Run jepactl on a terminal of its own, to its end; all that it wrote there."""

    def run(*args):
        reading, terminal = pty.openpty()
        child = subprocess.Popen(
            [sys.executable, "-m", "jepad.cli", *args], stdin=terminal, stdout=terminal
        )
        os.close(terminal)
        out = everything(reading)
        assert child.wait(30) == 0
        os.close(reading)
        return out

    return run


def everything(reading, until=None, patience_s=30.0):
    """What comes from a terminal, until a text in it, or its end."""
    out, end = b"", time.monotonic() + patience_s
    while until is None or until.encode() not in out:
        ready = select.select([reading], [], [], max(0, end - time.monotonic()))[0]
        assert ready, f"waited {patience_s} s for {until!r} after {out[-2000:]!r}"
        try:
            data = os.read(reading, 65536)
        except OSError:  # the other side is closed
            data = b""
        if not data:
            break
        out += data
    return out.decode("utf-8", "replace")


@pytest.fixture
def watching(peer):
    """Run `jepactl watch` while the peer raises, clears and ends; the lines, after Ctrl-C."""

    def run(*args):
        child = subprocess.Popen(
            [sys.executable, "-m", "jepad.cli", *args], stdout=subprocess.PIPE, text=True
        )
        lines = [child.stdout.readline().rstrip("\n")]  # the first one: it listens now
        Client("session").call("org.jepad1.Manager", "Raise")
        wanted = 2 if "io" in args else 4
        lines += [child.stdout.readline().rstrip("\n") for _ in range(wanted - 1)]
        peer.kill()
        lines.append(child.stdout.readline().rstrip("\n"))
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=30)
        assert child.returncode == 0
        return lines + rest.splitlines()

    return run
