"""What systemd and journald receive, over real sockets in their place."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jepad import journal

ROOT = Path(__file__).parents[1]


@pytest.fixture
def receiver(tmp_path):
    """A datagram socket in a file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.settimeout(5)
        yield sock


def record(message="hi", level=logging.WARNING, **extra):
    made = logging.LogRecord("jepad.x", level, "/src/x.py", 7, message, (), None, "work")
    made.__dict__.update(extra)
    return made


def fields(datagram):
    found, rest = {}, datagram
    while rest:
        head, _, tail = rest.partition(b"\n")
        key, equals, value = head.partition(b"=")
        if equals:
            rest = tail
        else:
            size = int.from_bytes(tail[:8], "little")
            value, rest = tail[8 : 8 + size], tail[9 + size :]
        found[key.decode()] = value.decode()
    return found


def test_notify_reaches_a_socket_in_a_file(receiver, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", receiver.getsockname())
    assert journal.notify("READY=1", "STATUS=running")
    assert receiver.recv(4096) == b"READY=1\nSTATUS=running"


def test_notify_reaches_an_abstract_socket(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")  # the kernel picks an abstract name
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + sock.getsockname()[1:].decode())
        assert journal.notify("WATCHDOG=1")
        assert sock.recv(4096) == b"WATCHDOG=1"


def test_reloading_carries_its_time(receiver, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", receiver.getsockname())
    journal.notify("RELOADING=1")
    first, second = receiver.recv(4096).split(b"\n")
    assert first == b"RELOADING=1"
    assert second.startswith(b"MONOTONIC_USEC=")


@pytest.mark.parametrize("address", ["", "vsock:2:1", "/nowhere/socket"])
def test_notify_without_a_manager_is_false(address, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not journal.notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", "", 30.0), ("30000000", "me", 30.0), ("30000000", "1", None),
        ("", "", None), ("0", "", None), ("soon", "", None),
    ],
)  # fmt: skip
def test_the_watchdog_interval(usec, pid, seconds, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "me" else pid)
    assert journal.watchdog_interval() == seconds


def test_a_record_goes_to_the_journal_with_its_fields(receiver, monkeypatch, capfd):
    monkeypatch.setattr(journal, "SOCKET", receiver.getsockname())
    handler = journal.Journal("jepad-x")
    handler.target = "journal"
    extra = {"JEPAD_ACTION": "freeze", "JEPAD_UID": 7, "bad key": 1, "_TRUSTED": "no"}
    handler.emit(record("two\nlines", fields=extra))
    assert fields(receiver.recv(65536)) == {
        "MESSAGE": "two\nlines",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "jepad-x",
        "LOGGER": "jepad.x",
        "CODE_FILE": "/src/x.py",
        "CODE_LINE": "7",
        "CODE_FUNC": "work",
        "JEPAD_ACTION": "freeze",
        "JEPAD_UID": "7",
    }
    assert capfd.readouterr().err == ""


def test_a_message_cannot_add_fields():
    payload = journal.native(record("x\nPRIORITY=0\nMESSAGE=forged"), "jepad")
    assert fields(payload)["MESSAGE"] == "x\nPRIORITY=0\nMESSAGE=forged"
    assert fields(payload)["PRIORITY"] == "4"


def test_a_long_message_is_cut_to_a_datagram():
    assert len(journal.native(record("é" * 10**6), "jepad")) < 2 * journal.FIELD_BYTES


def test_what_the_journal_does_not_take_goes_to_stderr(monkeypatch, capsys):
    monkeypatch.setattr(journal, "SOCKET", "/nowhere/socket")
    handler = journal.Journal("jepad")
    handler.target = "journal"
    handler.emit(record("hello"))
    assert capsys.readouterr().err == "jepad: warning: hello\n"


def test_foreign_text_cannot_steer_a_terminal():
    assert (
        journal.line(record("a\x1b[2Jb\x9b\r"), "jepad") == "jepad: warning: a\\x1b[2Jb\\x9b\\x0d\n"
    )


def test_an_exception_is_logged_with_its_traceback():
    try:
        raise ValueError("why")
    except ValueError:
        made = record(exc_info=sys.exc_info())
    assert "Traceback" in fields(journal.native(made, "jepad"))["MESSAGE"]
    assert "ValueError: why" in journal.line(made, "jepad")


def test_the_target_is_the_journal_only_if_stderr_is():
    code = "from jepad import journal; print(journal.setup().target)"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with open(os.devnull, "w") as stderr:
        found = os.fstat(stderr.fileno())
        for stream, target in (
            (f"{found.st_dev}:{found.st_ino}", "journal"),
            (f"{found.st_dev}:1", "console"),
            ("", "console"),
        ):
            done = subprocess.run(
                [sys.executable, "-c", code],
                env=env | {"JOURNAL_STREAM": stream},
                stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=30, check=True,
            )  # fmt: skip
            assert done.stdout.strip() == target


def test_setup_is_for_our_loggers_alone_and_only_once():
    first, second = journal.setup("a"), journal.setup("b")
    logger = logging.getLogger("jepad")
    try:
        assert logger.handlers == [second]
        assert first is not second
        assert not logger.propagate
        assert second not in logging.getLogger().handlers
    finally:
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
