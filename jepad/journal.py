"""What we tell systemd and the journal: readiness, the watchdog, log records with fields.

Owns: the sd_notify protocol, the native journal protocol, readable stderr lines.
Does not know: what is logged, or when the service is ready.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping

SOCKET = "/run/systemd/journal/socket"
SEND_TIMEOUT_S = 0.2  # a stuck journald or service manager must not hold up a tick
FIELD_BYTES = 32768  # two such fields still fit one datagram under the default net.core.wmem_max
PRIORITY = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
_FIELD = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def notify(*lines: str) -> bool:
    """Send lines such as READY=1 or STATUS=… to the service manager; False when there is none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if "RELOADING=1" in lines:  # Type=notify-reload requires the time beside it
        lines = (*lines, f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    return _send(address, "\n".join(lines).encode())


def watchdog_interval() -> float | None:
    """Seconds within which WATCHDOG=1 is due; None when nobody waits for ours."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or int(usec) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(usec) / 1e6


def setup(identifier: str = "jepad", level: int = logging.INFO) -> Journal:
    """Send the records of our loggers to the journal, or to stderr as lines."""
    root = logging.getLogger("jepad")
    handler = Journal(identifier)
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
    return handler


class Journal(logging.Handler):
    """Writes records; `extra={"fields": {"JEPAD_X": …}}` adds fields in the journal.

    `target` is "journal" or "console", as in org.freedesktop.LogControl1.
    """

    def __init__(self, identifier: str) -> None:
        super().__init__()
        self.identifier = identifier
        self.target = "journal" if stderr_is_journal() else "console"

    def emit(self, record: logging.LogRecord) -> None:
        """One record; what the journal does not take goes to stderr."""
        if self.target != "journal" or not _send(SOCKET, native(record, self.identifier)):
            with contextlib.suppress(OSError):  # nobody is left to tell
                sys.stderr.write(line(record, self.identifier))
                sys.stderr.flush()


def native(record: logging.LogRecord, identifier: str) -> bytes:
    """The record in the journal's native protocol."""
    fields: dict[str, str] = {
        "MESSAGE": _text(record),
        "PRIORITY": str(PRIORITY.get(record.levelno, 6)),
        "SYSLOG_IDENTIFIER": identifier,
        "LOGGER": record.name,
        "CODE_FILE": record.pathname,
        "CODE_LINE": str(record.lineno),
        "CODE_FUNC": record.funcName or "",
    }
    fields.update(_extra(record))
    return b"".join(_field(key, value) for key, value in fields.items())


def line(record: logging.LogRecord, identifier: str) -> str:
    """The record for a person; control characters of foreign text can't reach the terminal."""
    text = _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}", _text(record))
    return f"{identifier}: {record.levelname.lower()}: {text}\n"


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return text


def _extra(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    fields = getattr(record, "fields", None)
    if isinstance(fields, Mapping):
        for key, value in fields.items():
            if _FIELD.fullmatch(str(key)):
                yield str(key), str(value)


def _field(key: str, value: str) -> bytes:
    raw = value.encode("utf-8", "replace")[:FIELD_BYTES]
    if b"\n" not in raw:
        return key.encode() + b"=" + raw + b"\n"
    return key.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n"


def _send(address: str, payload: bytes) -> bool:
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(SEND_TIMEOUT_S)
        try:
            sock.sendto(payload, address)
        except OSError:
            return False
    return True


def stderr_is_journal() -> bool:
    """Whether the service manager says so."""
    wanted = os.environ.get("JOURNAL_STREAM", "")
    try:
        here = os.fstat(2)
    except OSError:
        return False
    return wanted == f"{here.st_dev}:{here.st_ino}"
