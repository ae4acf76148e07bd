"""Who calls: the uid behind each connection to the bus, asked once.

Owns: what is known of callers, and the calls that wait for that. Does not know: what is asked.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict, deque
from collections.abc import Callable

from jepad.bus.connection import SLICE_S, Connection, Refused, close_fds
from jepad.bus.seam import Message
from jepad.errors import BusError, RateLimited

#: A unique name is never used again and keeps its uid, so what we know can't become wrong.
MAX_KNOWN = 4096
MAX_WAITING_BYTES = 1 << 20
FD_BYTES = 32768  # what a waiting file descriptor counts as
Proceed = Callable[[Message, int], None]
Fail = Callable[[Message, Exception], None]


class Senders:
    """Runs each call once its sender's uid is known, in the order in which they came."""

    def __init__(self, connection: Connection, proceed: Proceed, fail: Fail) -> None:
        self._connection = connection
        self._proceed = proceed
        self._fail = fail
        self._known: OrderedDict[str, int] = OrderedDict()
        self._waiting: dict[str, deque[tuple[Message, int]]] = {}
        self._waiting_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def admit(self, message: Message, size: int) -> None:
        """Proceed with a call of `size` bytes, now or soon."""
        sender = message.sender or ""
        uid = self._uid(sender)
        if uid is not None:
            self._proceed(message, uid)
            return
        weight = size + FD_BYTES * len(message.unix_fds)
        if self._waiting_bytes + weight > MAX_WAITING_BYTES:
            self._fail(message, RateLimited("too many calls wait. retry-after: 1.00 s"))
            return
        if sender not in self._waiting:
            self._waiting[sender] = deque()
            task = asyncio.ensure_future(self._ask(sender))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._waiting[sender].append((message, weight))
        self._waiting_bytes += weight

    def close(self) -> None:
        """Forget the calls that wait."""
        for task in self._tasks:
            task.cancel()
        for queue in self._waiting.values():
            for message, _ in queue:
                close_fds(message.unix_fds)
        self._waiting.clear()

    def _uid(self, sender: str) -> int | None:
        """Known, and nothing of that sender waits: order is kept."""
        if sender == self._connection.unique_name:
            return os.getuid()
        return None if sender in self._waiting else self._known.get(sender)

    async def _ask(self, sender: str) -> None:
        uid, error = -1, None
        try:
            reply = await self._connection.call_bus("GetConnectionUnixUser", "s", sender)
            uid = int(reply.body[0])
        except Refused:  # it hung up: the bus drops our answer
            error = BusError("you are not on the bus any more")
        except BusError as why:
            error = why
        else:
            self._known[sender] = uid
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        await self._drain(sender, uid, error)

    async def _drain(self, sender: str, uid: int, error: BusError | None) -> None:
        loop = asyncio.get_running_loop()
        queue = self._waiting[sender]
        while queue:
            end = loop.time() + SLICE_S
            while queue and loop.time() < end:
                message, weight = queue.popleft()
                self._waiting_bytes -= weight
                if error:
                    self._fail(message, error)
                else:
                    self._proceed(message, uid)
            await asyncio.sleep(0)
        del self._waiting[sender]
