"""Keeps one engine alive as a child of this asyncio program.

Owns: the child process, restarts and their back-off, the verdict that it hangs.
Does not know forecasts, and loads neither onnxruntime nor torch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from typing import Literal

from jepad.engine.client import EngineClient
from jepad.engine.follow import Follower
from jepad.errors import JepadError, ModelError, SettingError
from jepad.paths import Places

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
    SettingError.exit_code: "a setting can't be used (exit code {}): see its message in the log",
    ModelError.exit_code: "the model file can't be used (exit code {}): "
    "see its message in the log, or: jepactl doctor",
}
LASTING_DELAY_S = 60.0


class Supervisor:
    """start(), then read `state`; stop() leaves no process behind."""

    def __init__(
        self,
        places: Places,
        model: str = "",  # path of a card; "" = the one shipped
        series: Sequence[str] = (),  # patterns; () = built in
        stall_s: float = 10.0,
        transient: bool = False,  # remove its streams when it stops
    ) -> None:
        self.state: State = "stopped"
        self.reason = ""  # of the last end of the engine
        self.restarts = 0
        self.pid = 0
        self.client = EngineClient(places.engine_socket)
        self._command = _command(places, model, series)
        # A trace's series have another machine's names and habits: nothing of them is kept.
        self._command += ["--transient"] if transient else ["--state", places.state]
        self._stall_s = stall_s
        self._telemetry = Follower(places.shm_prefix, "telemetry")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._run(), name="engine supervisor")

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL; the streams say STOPPED."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self.client.close()
        self._telemetry.close()
        self.state = "stopped"

    async def _run(self) -> None:
        delay = FIRST_DELAY_S
        while True:
            self.state = "starting"
            born = time.monotonic()
            lasting = False
            try:
                lasting = await self._life() in LASTING
            except Exception as error:  # a fault of ours must not end the forecasts for ever
                log.exception("the engine could not be supervised")
                self.reason = f"could not be supervised: {error!r}"
                self.state = "failed"
            else:
                log.warning("engine ended: %s", self.reason)
                self.state = "failed" if lasting else "restarting"
            if time.monotonic() - born > GOOD_LIFE_S:
                delay = FIRST_DELAY_S
            await asyncio.sleep(LASTING_DELAY_S if lasting else delay)
            delay = min(2 * delay, LAST_DELAY_S)
            self.restarts += 1

    async def _life(self) -> int | None:
        """One child from start to end; its exit code, None when it could not be started."""
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command, stdin=DEVNULL, env=environment()
            )
        except OSError as error:
            self.reason = f"cannot start: {error}"
            return None
        self.pid = child.pid
        try:
            self.reason = await self._watch(child)
        finally:
            await _end(child)
            self.pid = 0
        self.reason = self.reason or _meaning(child.returncode or 0)
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
        progress = Progress(time.monotonic())
        while True:
            verdict = ""
            try:
                pong = await self.client.ping(timeout=stall_s / 2)
            except JepadError:  # a refusal is no answer either
                limit = stall_s if self.state == "running" else START_GRACE_S
                verdict = progress.silent(time.monotonic(), limit)
            else:
                self.state = "running"
                telemetry = self._telemetry.stream()
                seen = (pong.source_n, telemetry.head if telemetry else -1)
                verdict = progress.behind(time.monotonic(), stall_s, seen)
            if verdict:
                return verdict
            await asyncio.sleep(stall_s / 10)


class Progress:
    """When the engine last answered and last got on; both must go on."""

    def __init__(self, now: float) -> None:
        self._answered = self._fresh = now
        self._source_n = -1

    def silent(self, now: float, limit: float) -> str:
        """Why to end an engine that did not answer, or ""."""
        quiet = now - self._answered
        return f"no answer for {quiet:.0f} s" if quiet > limit else ""

    def behind(self, now: float, limit: float, seen: tuple[int, int]) -> str:
        """Why to end an engine that answers but forecasts no more, or "".

        `seen` is the sequence it forecast from last, and that of the newest telemetry."""
        self._answered = now
        source_n, head = seen
        if head >= 0 and source_n != head and source_n == self._source_n:
            late = now - self._fresh
            return f"no forecast for {late:.0f} s while telemetry goes on" if late > limit else ""
        self._fresh, self._source_n = now, source_n
        return ""


def _meaning(code: int) -> str:
    if code < 0:
        return f"killed by signal {-code} ({signal.strsignal(-code)})"
    return LASTING.get(code, "exit code {}").format(code)


def _command(places: Places, model: str, series: Sequence[str]) -> list[str]:
    args = [sys.executable, "-m", "jepad.engine", "--parent", str(os.getpid())]
    args += ["--runtime", places.runtime, "--prefix", places.shm_prefix]
    args += ["--model", model] if model else []
    return args + [arg for pattern in series for arg in ("--series", pattern)]


def environment() -> dict[str, str]:
    """The child's: one thread, one malloc arena, and not our place at the service manager's."""
    ours = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


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
