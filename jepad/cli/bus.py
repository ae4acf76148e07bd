"""jepactl's own D-Bus connection: one socket, one deadline a call.

Owns: finding the bus that has org.jepad1, authentication, calls, signals, errors of replies.
Does not know: what any reply means.
"""

from __future__ import annotations

import os
import struct
import time

# The C module: `import socket` would add 10 ms (enum, selectors) to every start.
from _socket import (
    AF_UNIX,
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_NOSIGNAL,
    SCM_RIGHTS,
    SO_PEERCRED,
    SOCK_CLOEXEC,
    SOCK_STREAM,
    SOL_SOCKET,
)
from _socket import socket as Socket

from jepad import errors
from jepad.cli import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

NAME = "org.jepad1"
ROOT = "/org/jepad1"
RESOURCE = "/org/jepad1/resource"
DEADLINE_S = 5.0
#: Descriptors that one message may bring (dbus-daemon's own limit).
FILES = 16
_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_ABSENT = (
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
)


class Absent(errors.BusError):
    """Nobody on this bus answers to org.jepad1."""


def runtime() -> str:
    """Runtime directory of the user's own jepad; a test holds it equal to paths.session()."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    return f"{given}/jepad" if given else f"/tmp/jepad-{os.getuid()}"


def candidates(choice: str) -> list[tuple[str, str]]:
    """(which, address) of the buses to ask, in order; `choice` is auto, system or session."""
    out = []
    if choice != "session":
        default = "unix:path=/run/dbus/system_bus_socket"
        out.append(("system", os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or default))
    if choice != "system":
        known = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
        if not known and os.environ.get("XDG_RUNTIME_DIR"):
            known = f"unix:path={os.environ['XDG_RUNTIME_DIR']}/bus"
        private = _private_address()
        out += [("session", address) for address in (known, private) if address]
    return out


def _private_address() -> str:
    """Address of the bus `jepad --session` had to start; "" where it left none, or not we did."""
    try:
        with open(f"{runtime()}/bus-address", encoding="ascii") as file:
            mine = os.fstat(file.fileno()).st_uid == os.getuid()
            return file.read(4096).strip() if mine else ""
    except (OSError, ValueError):
        return ""


class Connection:
    """One authenticated connection to one bus."""

    def __init__(self, which: str, address: str) -> None:
        self.which = which
        self.signals: list[wire.Message] = []
        #: Of the calls to come; None is DEADLINE_S.
        self.patience_s: float | None = None
        self._serial = 0
        self._buffer = b""
        self._files: list[int] = []  # came with bytes whose message is not read yet
        self._socket = Socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        self._socket.settimeout(DEADLINE_S)
        self._socket.connect(_path(address))
        if which == "session":
            self._check_peer()
        uid = str(os.getuid()).encode().hex()
        self._socket.sendall(
            f"\0AUTH EXTERNAL {uid}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n".encode(), MSG_NOSIGNAL
        )
        self._send((*_BUS, "Hello"), "", [])  # pipelined: one round trip less
        self._authenticated()

    def close(self) -> None:
        """Leave the bus."""
        self._socket.close()
        _close(self._files)

    def call(self, target: tuple[str, str, str, str], signature: str = "", *args: Any) -> list[Any]:
        """Call (destination, path, interface, member) and return what it answers."""
        message = self.exchange(target, signature, args)
        _close(message.files)
        return message.body

    def exchange(
        self,
        target: tuple[str, str, str, str],
        signature: str,
        args: Sequence[Any],
        files: Sequence[int] = (),
    ) -> wire.Message:
        """The same with descriptors both ways: an "h" is an index into `files`, there and in the
        answer, whose files the caller closes."""
        patience_s = self.patience_s or DEADLINE_S
        deadline = time.monotonic() + patience_s
        serial = self._send(target, signature, list(args), files)
        while True:
            message = self._receive(deadline)
            if message is None:
                raise errors.BusError(
                    f"{target[3]}: no answer from {target[0]} within {patience_s:g} s. "
                    f"See: jepactl doctor"
                )
            if message.reply_to != serial:
                self._keep(message)
            elif message.kind == wire.ERROR:
                raise _error(message)
            else:
                return message

    def match(self, rule: str) -> None:
        """Ask the bus for the signals of a match rule."""
        self.call((*_BUS, "AddMatch"), "s", rule)

    def signal(self, timeout_s: float) -> wire.Message | None:
        """The next signal, or None when none came in time."""
        deadline = time.monotonic() + timeout_s
        while not self.signals:
            message = self._receive(deadline)
            if message is None:
                return None
            self._keep(message)
        return self.signals.pop(0)

    def _keep(self, message: wire.Message) -> None:
        _close(message.files)
        if message.kind == wire.SIGNAL and len(self.signals) < 1000:
            self.signals.append(message)

    def _check_peer(self) -> None:
        """A session bus run by another user could feed us anything it likes."""
        credentials = self._socket.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)
        uid = struct.unpack("=iii", credentials)[1]
        if uid not in (0, os.getuid()):
            raise OSError(f"the bus belongs to uid {uid}")

    def _authenticated(self) -> None:
        """The answers to who we are, and whether descriptors may travel."""
        deadline = time.monotonic() + DEADLINE_S
        while self._buffer.count(b"\r\n", 0, 4096) < 2:
            if not self._fill(deadline):
                raise OSError("the bus did not answer")
            if not self._buffer.startswith(b"OK "[: len(self._buffer)]):
                raise OSError(f"the bus refused uid {os.getuid()}")
        who, files, self._buffer = self._buffer.split(b"\r\n", 2)
        if not who.startswith(b"OK ") or not files.startswith(b"AGREE_UNIX_FD"):
            raise OSError(f"the bus refused uid {os.getuid()}")

    def _send(
        self,
        target: tuple[str, str, str, str],
        signature: str,
        args: list[Any],
        files: Sequence[int] = (),
    ) -> int:
        self._serial += 1
        data = wire.call(self._serial, target, signature, args, len(files))
        self._socket.settimeout(DEADLINE_S)
        try:
            if files:  # they go with the first byte
                rights = struct.pack(f"={len(files)}i", *files)
                what = [(SOL_SOCKET, SCM_RIGHTS, rights)]
                data = data[self._socket.sendmsg([data], what, MSG_NOSIGNAL) :]
            self._socket.sendall(data, MSG_NOSIGNAL)
        except OSError as error:
            raise errors.BusError(f"the bus is gone: {_reason(error)}") from error
        return self._serial

    def _receive(self, deadline: float) -> wire.Message | None:
        """The next message; None at the deadline."""
        need = wire.HEADER
        try:
            while len(self._buffer) < need or len(self._buffer) < (need := wire.size(self._buffer)):
                if not self._fill(deadline):
                    return None
            data, self._buffer = self._buffer[:need], self._buffer[need:]
            message = wire.parse(data)
            n = message.descriptors
            message.files, self._files = self._files[:n], self._files[n:]
            return message
        except (ValueError, LookupError, TypeError, struct.error, RecursionError) as error:
            raise errors.BusError(f"a message from the bus can't be read: {error}") from error

    def _fill(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        self._socket.settimeout(left)
        try:
            data, found, _, _ = self._socket.recvmsg(65536, CMSG_SPACE(4 * FILES), MSG_CMSG_CLOEXEC)
        except TimeoutError:
            return False
        except ConnectionError:
            data, found = b"", []
        for level, kind, rights in found:
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
                self._files += struct.unpack(f"={len(rights) // 4}i", rights[: len(rights) & ~3])
        if not data:
            raise errors.BusError("the bus is gone: it closed the connection")
        self._buffer += data
        return True


class Client:
    """Calls to jepad, on the first bus where it answers."""

    def __init__(self, choice: str = "auto") -> None:
        self._choice = choice
        self._connection: Connection | None = None

    @property
    def which(self) -> str:
        """The bus that answered: system or session."""
        return self.connection.which

    @property
    def connection(self) -> Connection:
        """The connection on which jepad answers."""
        if self._connection is None:
            self.call("org.freedesktop.DBus.Peer", "Ping")
        assert self._connection is not None
        return self._connection

    def call(self, interface: str, member: str, signature: str = "", *args: Any) -> list[Any]:
        """Call a member of /org/jepad1."""
        return self.call_at(ROOT, (interface, member), signature, *args)

    def call_at(
        self, path: str, method: tuple[str, str], signature: str = "", *args: Any
    ) -> list[Any]:
        """Call (interface, member) of any object; the first call picks the bus."""
        message = self.exchange(path, method, signature, args)
        _close(message.files)
        return message.body

    def exchange(
        self,
        path: str,
        method: tuple[str, str],
        signature: str,
        args: Sequence[Any],
        files: Sequence[int] = (),
    ) -> wire.Message:
        """The same with descriptors both ways, as Connection.exchange."""
        target = (NAME, path, *method)
        if self._connection is not None:
            return self._connection.exchange(target, signature, args, files)
        reasons = []
        for which, address in candidates(self._choice):
            try:
                connection = Connection(which, address)
            except (OSError, errors.BusError) as error:
                reasons.append(f"{which} bus: {_reason(error)}")
                continue
            try:
                reply = connection.exchange(target, signature, args, files)
            except Absent:
                reasons.append(f"{which} bus: nobody owns {NAME}")
                connection.close()
                continue
            self._connection = connection
            return reply
        raise Absent(_stopped(reasons or ["no session bus is known"]))

    def properties(self, path: str, interface: str) -> dict[str, Any]:
        """All properties of an interface."""
        get_all = ("org.freedesktop.DBus.Properties", "GetAll")
        out: dict[str, Any] = self.call_at(path, get_all, "s", interface)[0]
        return out


def _close(files: list[int]) -> None:
    while files:
        os.close(files.pop())


def _stopped(reasons: list[str]) -> str:
    return (
        f"jepad is not running ({'; '.join(reasons)}).\n"
        "Start it: systemctl start jepad   or, without root: jepad --session"
    )


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def _path(address: str) -> str | bytes:
    """What to connect to, from the first unix: part of a D-Bus address."""
    for part in address.split(";"):
        transport, _, rest = part.partition(":")
        options = dict(item.partition("=")[::2] for item in rest.split(","))
        if transport != "unix":
            continue
        if "path" in options:
            return _unescape(options["path"])
        if "abstract" in options:
            return b"\0" + _unescape(options["abstract"])
    raise OSError(f"no unix: socket in the address {address!r}")


def _unescape(text: str) -> bytes:
    head, *rest = text.split("%")
    return head.encode() + b"".join(bytes.fromhex(piece[:2]) + piece[2:].encode() for piece in rest)


def _below(kind: type[errors.JepadError]) -> list[type[errors.JepadError]]:
    """All that are more particular, the less particular first."""
    nearest = kind.__subclasses__()
    return nearest + [further for near in nearest for further in _below(near)]


def _error(message: wire.Message) -> errors.JepadError:
    """The exception of an error reply; ours keep their class and so their exit code."""
    text = str(message.body[0]) if message.body else message.error
    if message.error in _ABSENT:
        return Absent(text)
    known: dict[str, type[errors.JepadError]] = {}
    for kind in _below(errors.JepadError):
        known.setdefault(kind.bus_name, kind)
    if message.error in known and message.error != errors.JepadError.bus_name:
        return known[message.error](text)
    if message.error.startswith(NAME + ".Error."):
        return errors.JepadError(text)
    return errors.BusError(f"{text} ({message.error})")
