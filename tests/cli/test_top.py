"""The live picture on a terminal of its own: drawn, resized, stopped, and the terminal restored."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from jepad.cli.terminal import ENTER, LEAVE
from tests.cli.conftest import everything
from tests.cli.test_rings import predictions, telemetry

__all__ = ["predictions", "telemetry"]


class Session:
    """`jepactl top` on a terminal of 100 columns and 12 lines."""

    def __init__(self):
        self.side, self.terminal = pty.openpty()
        self.resize(12, 100)
        self.before = termios.tcgetattr(self.terminal)
        self.child = subprocess.Popen(
            [sys.executable, "-m", "jepad.cli", "top", "--interval", "50ms"],
            stdin=self.terminal,
            stdout=self.terminal,
            start_new_session=True,
        )
        self.seen = everything(self.side, until="quits")

    def resize(self, rows, columns):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys):
        os.write(self.side, keys.encode())

    def wait(self):
        """Exit code and the last that was drawn; the terminal must be as it was."""
        self.seen += everything(self.side, until=LEAVE)
        code = self.child.wait(30)
        assert termios.tcgetattr(self.terminal) == self.before
        assert self.seen.endswith(LEAVE)
        return code

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait(10)
        os.close(self.side)
        os.close(self.terminal)


@pytest.fixture
def session(predictions):
    found = Session()
    yield found
    found.close()


def test_it_takes_the_terminal_and_q_gives_it_back(session):
    assert ENTER in session.seen
    assert "mem.MemFree" in session.seen
    session.press("q")
    assert session.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_it_back_too(session, number):
    session.child.send_signal(number)
    assert session.wait() == 128 + number


def test_so_does_ctrl_c(session):
    session.child.send_signal(signal.SIGINT)
    assert session.wait() == 130


def test_it_follows_the_size_of_the_terminal(session):
    assert "in 1m4s" in session.seen
    session.resize(3, 20)
    session.child.send_signal(signal.SIGWINCH)
    time.sleep(0.3)
    session.press("jjk\x1b[B\x1b[5~")
    everything(session.side, until="\x1b[J")
    session.resize(30, 200)
    session.child.send_signal(signal.SIGWINCH)
    everything(session.side, until="in 1m4s")
    session.press("q")
    assert session.wait() == 0


def test_ctrl_z_gives_the_terminal_to_the_shell_and_takes_it_again(session):
    session.child.send_signal(signal.SIGTSTP)
    everything(session.side, until=LEAVE)
    assert os.WIFSTOPPED(os.waitpid(session.child.pid, os.WUNTRACED)[1])
    assert termios.tcgetattr(session.terminal) == session.before
    session.child.send_signal(signal.SIGCONT)
    everything(session.side, until="quits")
    session.press("q")
    assert session.wait() == 0


def test_nothing_to_show_leaves_the_terminal_alone(environment, prefix, monkeypatch):
    monkeypatch.setenv("JEPAD_SHM_PREFIX", prefix)
    side, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "jepad.cli", "top"], stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    said = everything(side)
    os.close(side)
    assert child.wait(30) == 1
    assert "\x1b" not in said
    assert "jepad is not running" in said
