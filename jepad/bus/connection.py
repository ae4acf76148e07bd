"""One connection to a message bus: connect, authenticate, send, receive, call with a deadline.

Owns: the socket, what waits to be written, the file descriptors in flight.
Does not know: objects and interfaces; who may do what.
"""

from __future__ import annotations

import array
import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable

from jepad.bus.handshake import connect
from jepad.bus.outbox import Outbox
from jepad.bus.seam import (
    HEADER_BYTES,
    Message,
    MessageFlag,
    MessageType,
    count_fds,
    decode,
    decode_header,
    encode,
    sizes,
)
from jepad.errors import BusError

log = logging.getLogger(__name__)

BUS = "org.freedesktop.DBus"
CALL_TIMEOUT_S = 5.0
READ_BYTES = 16384
SLICE_S = 0.005  # after so long in answering calls, the daemon's other work gets its turn
MAX_FDS = 253  # the kernel passes no more at once
MAX_BODY_BYTES = 32768
MAX_HEADER_BYTES = 65536
#: Above this much unsent output no more calls are read; the bus then holds or refuses them.
HIGH_WATER_BYTES = 4 << 20


Taker = Callable[[Message, int], None]  # the message and its size in bytes


class Refused(BusError):
    """A peer answered our call with an error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


def close_fds(fds: Iterable[int]) -> None:
    """Close file descriptors that are ours."""
    for fd in fds:
        os.close(fd)


class Connection:
    """A named peer on a bus.

    `on_message` gets calls and signals and owns the descriptors in their `unix_fds`;
    `on_oversize` gets the header of a call whose body was longer than `max_body` and dropped.
    `closed` is done when the connection is: with a BusError when it was not our doing.
    """

    def __init__(self, sock: socket.socket, max_body: int) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._max_body = max_body
        self._buffer = bytearray()
        self._skip = 0
        self._fds: list[int] = []
        self._serial = 0
        self._replies: dict[int, asyncio.Future[Message]] = {}
        self._outbox = Outbox(sock, self._loop, self._lost)
        self._reading = False
        self._behind = False  # calls are read but not yet answered
        self.unique_name = ""
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.closed.add_done_callback(lambda future: future.exception())  # seen, for asyncio
        self.on_message: Taker = _ignore
        self.on_oversize: Taker = _ignore

    @classmethod
    async def open(cls, address: str, max_body: int = MAX_BODY_BYTES) -> Connection:
        """Connect to the bus at an address and say hello, within CALL_TIMEOUT_S."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                self = cls(await connect(address), max_body)
        except TimeoutError:
            raise BusError(f"the bus at {address} did not answer in {CALL_TIMEOUT_S} s") from None
        self._resume()
        try:
            reply = await self.call_bus("Hello")
        except BaseException:
            self.close()
            raise
        self.unique_name = reply.body[0]
        return self

    @property
    def stalls(self) -> int:
        """How often the bus would take no more for a moment."""
        return self._outbox.stalls

    def send(self, message: Message, fds: Iterable[int] = ()) -> int:
        """Send, or queue while the bus takes no more; closes `fds` once they are sent, or fail.

        ValueError when the body does not fit its signature.
        """
        owned = list(fds)
        self._serial += 1
        message.serial = self._serial
        message.unix_fds = owned
        try:
            frame = encode(message)
        except ValueError:
            close_fds(owned)
            raise
        if self.closed.done():
            close_fds(owned)
        else:
            self._outbox.put(frame, owned)
            if self._reading and self._outbox.waiting_bytes > HIGH_WATER_BYTES:
                self._pause()
        return message.serial

    async def call(
        self, message: Message, timeout_s: float = CALL_TIMEOUT_S, fds: Iterable[int] = ()
    ) -> Message:
        """Call and await the answer: Refused if it is an error, BusError if there is none."""
        reply: asyncio.Future[Message] = self._loop.create_future()
        serial = self.send(message, fds)
        self._replies[serial] = reply
        if self.closed.done():
            self._forget_all()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await reply
        except TimeoutError:
            raise BusError(f"{message.member}: no answer in {timeout_s:g} s") from None
        finally:
            self._replies.pop(serial, None)
        if answer.message_type is MessageType.ERROR:
            close_fds(answer.unix_fds)
            text = answer.body[0] if answer.body else ""
            raise Refused(answer.error_name or "", str(text))
        return answer

    async def call_bus(self, member: str, signature: str = "", *body: object) -> Message:
        """Call a method of the bus itself."""
        message = Message(
            destination=BUS,
            path="/org/freedesktop/DBus",
            interface=BUS,
            member=member,
            signature=signature,
            body=list(body),
        )
        return await self.call(message)

    def emit(
        self, path: str, signal: tuple[str, str, str], *body: object, to: str | None = None
    ) -> None:
        """Send a signal, (interface, member, signature) and its arguments: to all, or to one."""
        interface, member, signature = signal
        self.send(
            Message(
                message_type=MessageType.SIGNAL,
                flags=MessageFlag.NO_REPLY_EXPECTED,
                destination=to,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(body),
            )
        )

    def close(self) -> None:
        """Hang up; what the bus has not taken by now is lost."""
        self._end(None)

    # -- reading -------------------------------------------------------------------------------

    def _readable(self) -> None:
        if self._behind:
            return
        try:
            data, ancillary, _, _ = self._sock.recvmsg(
                READ_BYTES, socket.CMSG_SPACE(4 * MAX_FDS), socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error)
            return
        for level, kind, raw in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._fds.extend(array.array("i", raw[: len(raw) // 4 * 4]))
        if not data:
            self._lost(None)
            return
        self._buffer += data
        self._frames()

    def _frames(self) -> None:
        self._behind = False
        end = self._loop.time() + SLICE_S
        try:
            while self._reading and self._frame():
                if self._loop.time() > end:
                    self._behind = True
                    self._loop.call_soon(self._frames)
                    return
        except ValueError as error:  # the stream itself is out of step
            self._lost(error)

    def _frame(self) -> bool:
        """Take one whole message from the buffer; False when there is none."""
        buffer = self._buffer
        dropped = min(self._skip, len(buffer))
        del buffer[:dropped]
        self._skip -= dropped
        if self._skip or len(buffer) < HEADER_BYTES:
            return False
        header, body = sizes(buffer)
        if header > MAX_HEADER_BYTES:
            raise ValueError(f"header of {header} bytes")
        if len(buffer) < header + (body if body <= self._max_body else 0):
            return False
        fds = self._take_fds(buffer)
        if body > self._max_body:
            self._skip = header + body
            close_fds(fds)
            self._hand(decode_header, buffer[:header], [], self.on_oversize)
        else:
            frame = buffer[: header + body]
            del buffer[: header + body]
            self._hand(decode, frame, fds, self._receive)
        return True

    def _take_fds(self, frame: bytearray) -> list[int]:
        if not self._fds:
            return []
        count = count_fds(frame)
        taken, self._fds = self._fds[:count], self._fds[count:]
        return taken

    def _hand(
        self,
        read: Callable[[bytearray], Message],
        frame: bytearray,
        fds: list[int],
        to: Taker,
    ) -> None:
        """Whatever one message does wrong, the next is served."""
        try:
            message = read(frame)
        except ValueError as error:
            close_fds(fds)
            log.warning("%s", error)
            return
        message.unix_fds = fds
        try:
            to(message, len(frame))
        except Exception:
            log.exception("could not take %s", message.member)

    def _receive(self, message: Message, size: int) -> None:
        if message.message_type in (MessageType.METHOD_RETURN, MessageType.ERROR):
            reply = self._replies.get(message.reply_serial or 0)
            if reply is None or reply.done():
                close_fds(message.unix_fds)
            else:
                reply.set_result(message)
        else:
            self.on_message(message, size)

    def _pause(self) -> None:
        self._reading = False
        self._loop.remove_reader(self._sock)
        self._outbox.when_empty = self._resume

    def _resume(self) -> None:
        self._reading = True
        self._loop.add_reader(self._sock, self._readable)
        self._loop.call_soon(self._frames)

    # -- the end -------------------------------------------------------------------------------

    def _lost(self, error: Exception | None) -> None:
        why = f": {error}" if error else ""
        self._end(BusError(f"the message bus closed our connection{why}"))

    def _end(self, error: BusError | None) -> None:
        if self.closed.done():
            return
        self._reading = False
        self._loop.remove_reader(self._sock)
        self._outbox.close()
        self._sock.close()
        close_fds(self._fds)
        self._fds = []
        if error:
            self.closed.set_exception(error)
        else:
            self.closed.set_result(None)
        self._forget_all()

    def _forget_all(self) -> None:
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(BusError("the connection to the message bus is closed"))


def _ignore(message: Message, _size: int) -> None:
    close_fds(message.unix_fds)
