"""Keeps one worker alive as a child of this asyncio program.

Owns: the child process, restarts and their back-off, the verdict that it hangs.
Does not know what the worker does, and loads neither onnxruntime nor torch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from typing import Literal

from jepad.errors import EngineError, JepadError, ModelError, SettingError, TooLarge
from jepad.worker.words import Words

State = Literal["stopped", "starting", "running", "restarting", "failed"]

log = logging.getLogger(__name__)

#: Importing onnxruntime takes 23 s on an emulated CPU.
START_GRACE_S = 90.0
STOP_GRACE_S = 5.0
FIRST_DELAY_S, LAST_DELAY_S = 0.2, 10.0
#: A life this long was a good one: the next failure starts again at the first delay.
GOOD_LIFE_S = 30.0
#: Only a person mends a wrong flag or a damaged model, so look again seldom.
LASTING = {
    SettingError.exit_code: "a setting can't be used (exit code {})",
    ModelError.exit_code: "the model file can't be used (exit code {})",
    TooLarge.exit_code: "too little memory (exit code {})",
}
#: An end from outside: what was said last has nothing to do with it.
_SENT = (0, -signal.SIGKILL, -signal.SIGTERM)
LASTING_DELAY_S = 60.0
#: One thread and one malloc arena: each more would keep memory of its own.
LEAN = {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Silence:
    """When a worker last answered; it must go on doing so."""

    def __init__(self, now: float) -> None:
        self._answered = now

    def answered(self, now: float) -> None:
        """It did, just now."""
        self._answered = now

    def silent(self, now: float, limit: float) -> str:
        """Why to end a worker that did not answer, or ""."""
        quiet = now - self._answered
        return f"no answer for {quiet:.0f} s" if quiet > limit else ""


class Keeper:
    """start(), then read `state`; stop() leaves no process behind. A subclass knows the questions:
    `_ask` and `_shut`."""

    def __init__(self, name: str, command: Sequence[str], stall_s: float) -> None:
        self.state: State = "stopped"
        self.reason = ""  # of the last end of the worker
        self.restarts = 0
        self.pid = 0
        self._name = name
        self._command = tuple(command)
        self._stall_s = stall_s
        self._start_grace_s = START_GRACE_S
        self._environment: Mapping[str, str] = LEAN
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._run(), name=f"{self._name} supervisor")

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._shut()
        self.state = "stopped"

    async def _ask(self, timeout: float) -> str:
        """Ping it: "" or why to end it although it answers; JepadError when it doesn't."""
        raise NotImplementedError

    def _born(self) -> None:
        """A child was started: what was known of the one before counts no more."""

    def _died(self, error: EngineError, lasting: bool) -> None:
        """A child ended: what it was asked gets this error; if that is lasting, so does what waits
        to be asked."""

    async def _shut(self) -> None:
        """Close what the questions need."""

    async def _run(self) -> None:
        delay = FIRST_DELAY_S
        while True:
            self.state = "starting"
            born = time.monotonic()
            lasting = False
            try:
                lasting = await self._life() in LASTING
            except Exception as error:  # a fault of ours must not end the worker for ever
                log.exception("the %s could not be supervised", self._name)
                self.reason = f"could not be supervised: {error!r}"
                self.state = "failed"
            else:
                log.warning("%s ended: %s", self._name, self.reason)
                self.state = "failed" if lasting else "restarting"
                self._died(EngineError(f"the {self._name} ended: {self.reason}"), lasting)
            if time.monotonic() - born > GOOD_LIFE_S:
                delay = FIRST_DELAY_S
            await asyncio.sleep(LASTING_DELAY_S if lasting else delay)
            delay = min(2 * delay, LAST_DELAY_S)
            self.restarts += 1

    async def _life(self) -> int | None:
        """One child from start to end; its exit code, None when it could not be started."""
        words = Words()
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command, stdin=DEVNULL, stderr=words.into,
                env=environment({**self._environment, **words.environment()}),
            )  # fmt: skip
        except OSError as error:
            words.close()
            self.reason = f"cannot start: {error}"
            return None
        words.begun()
        self.pid = child.pid
        self._born()
        try:
            self.reason = await self._watch(child)
        finally:
            await _end(child)
            self.pid = 0
            said = words.close()
        self.reason = self.reason or meaning(child.returncode or 0, said)
        return child.returncode

    async def _watch(self, child: Process) -> str:
        """Until it ends ("") or has to (why)."""
        ended = asyncio.create_task(child.wait())
        hangs = asyncio.create_task(self._examine())
        try:
            await asyncio.wait({ended, hangs}, return_when=asyncio.FIRST_COMPLETED)
            if hangs.done() and not ended.done():
                child.kill()
                return hangs.result()
            return ""
        finally:
            for task in (ended, hangs):
                task.cancel()

    async def _examine(self) -> str:
        """Until it hangs; how."""
        stall_s = self._stall_s
        silence = Silence(time.monotonic())
        while True:
            try:
                verdict = await self._ask(stall_s / 2)
            except JepadError:  # a refusal is no answer either
                limit = stall_s if self.state == "running" else self._start_grace_s
                verdict = silence.silent(time.monotonic(), limit)
            else:
                self.state = "running"
                silence.answered(time.monotonic())
            if verdict:
                return verdict
            await asyncio.sleep(stall_s / 10)


def meaning(code: int, said: str = "") -> str:
    """What an exit code says, in words; with what the worker said last."""
    what = LASTING.get(code, "exit code {}").format(code)
    if code < 0:
        what = f"killed by signal {-code} ({signal.strsignal(-code)})"
    if said and code not in _SENT:
        return f"{what}: {said}"
    return f"{what}: see its message in the log" if code in LASTING else what


def environment(more: Mapping[str, str] = LEAN) -> dict[str, str]:
    """The child's: ours and `more`, but not our place at the service manager's."""
    ours = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | dict(more)


async def _end(child: Process) -> None:
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), STOP_GRACE_S)
    except TimeoutError:
        child.kill()
        await child.wait()
