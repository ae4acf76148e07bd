"""A scene engine of one's own, for as long as a block of a blocking program runs.

Owns: the child, its directory, waiting until it can be asked. Does not know any question.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from jepad.errors import EngineError, JepadError, Late, ModelError, SettingError, TooLarge
from jepad.scene import wire
from jepad.scene.client import TIMEOUT_S, Answer, Frames, Quest, SceneClient
from jepad.worker.keeper import LEAN, environment, meaning

T = TypeVar("T")
#: Loading ViT-g from a slow disk takes a minute, and an emulated CPU is slower still.
START_S, STOP_S = 300.0, 5.0
#: Between two looks whether it lives, while it is asked.
LOOK_S = 0.1
CANCEL_S = 0.5
_RAISED = {kind.exit_code: kind for kind in (SettingError, ModelError, TooLarge)}


@dataclass(frozen=True, slots=True)
class Private:
    """How it is started."""

    state: str = ""  # directory with the library; "" = as jepad-scene itself has it
    device: str = "auto"
    precision: str = ""
    threads: int = 1


class Blocking:
    """SceneClient's questions without await."""

    def __init__(
        self,
        runner: asyncio.Runner,
        client: SceneClient,
        ended: Callable[[], JepadError | None] = lambda: None,
    ) -> None:
        """`ended`: why the engine lives no more, None while it does."""
        self._runner, self._client, self._ended = runner, client, ended

    def describe(self, timeout: float = TIMEOUT_S) -> wire.Described:
        """Which model, where, how large."""
        return self._run(lambda c: c.describe(timeout))

    def embed(
        self,
        frames: Frames,
        keep: NDArray[np.integer[Any]] | None = None,
        pool: str = "tokens",
        timeout: float = 300.0,
        classes: int = 0,
    ) -> Answer:
        """Tokens of a clip."""
        return self._run(lambda c: c.embed(frames, keep, pool, timeout, classes))

    def predict_temporal(self, frames: Frames, ahead: int = 1, timeout: float = 300.0) -> Answer:
        """Tokens of the steps that follow."""
        return self._run(lambda c: c.predict_temporal(frames, ahead, timeout=timeout))

    def predict_action(
        self,
        frames: Frames,
        state: Sequence[float],
        actions: NDArray[np.float32],
        timeout: float = 300.0,
    ) -> Answer:
        """What follows if these actions are taken."""
        return self._run(lambda c: c.predict_action(frames, state, actions, timeout))

    def plan_start(self, quest: Quest, timeout: float = 60.0) -> str:
        """A job's id."""
        return self._run(lambda c: c.plan_start(quest, timeout))

    def plan_status(self, job: str, timeout: float = TIMEOUT_S) -> wire.JobState:
        """How far it is."""
        return self._run(lambda c: c.plan_status(job, timeout))

    def cancel(self, job: str, timeout: float = CANCEL_S) -> wire.JobState:
        """It ends after the present iteration. Late if that isn't heard soon: whoever interrupts
        does not wait."""
        return self._run(lambda c: c.cancel(job, timeout))

    def _run(self, ask: Callable[[SceneClient], Awaitable[T]]) -> T:
        async def asked() -> T:
            return await ask(self._client)

        async def watched() -> T:
            task = asyncio.ensure_future(asked())
            try:
                while not (await asyncio.wait({task}, timeout=LOOK_S))[0]:
                    why = self._ended()
                    if why is not None:
                        raise why
                return task.result()
            finally:
                task.cancel()

        return self._runner.run(watched())


@contextmanager
def private(model: str, how: Private = Private()) -> Iterator[Blocking]:
    """An engine with this model (a name or a directory), asked by nobody else; gone at the end.

    What keeps it from starting is raised as the error it said. SIGTERM ends the block as
    SystemExit, unless somebody handles it already.
    """
    with (
        _ended_by_exit(),
        _directory() as runtime,
        tempfile.TemporaryFile("w+") as said,
        asyncio.Runner() as runner,
    ):
        child = _started(runtime, model, how, said)
        try:
            client = runner.run(_opened(f"ipc://{runtime}/scene.sock"))
            try:
                _until_there(runner, client, child, said)
                yield Blocking(runner, client, lambda: _gone(child, said))
            finally:
                runner.run(client.close())
        finally:
            _end(child)


@contextmanager
def _directory() -> Iterator[str]:
    runtime = tempfile.mkdtemp(prefix="jepad-scene-")
    try:
        yield runtime
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


@contextmanager
def _ended_by_exit() -> Iterator[None]:
    """A signal that would end us at once lets us leave nothing behind."""

    def leave(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough
        raise SystemExit(128 + number)

    ours = []
    if threading.current_thread() is threading.main_thread():  # no other may handle signals
        both = (signal.SIGTERM, signal.SIGHUP)
        ours = [number for number in both if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _started(runtime: str, model: str, how: Private, said: IO[str]) -> subprocess.Popen[str]:
    """In a process group of its own: Ctrl-C is for us, and it ends after it was asked to."""
    command = [sys.executable, "-m", "jepad.scene", "--runtime", runtime, "--model", model]
    command += ["--device", how.device, "--precision", how.precision]
    command += ["--threads", str(how.threads), "--parent", str(os.getpid())]
    command += ["--state", how.state] if how.state else []
    threads = {"OMP_NUM_THREADS": str(how.threads)}
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, text=True,
        env=environment(LEAN | threads), process_group=0,
    )  # fmt: skip


async def _opened(endpoint: str) -> SceneClient:
    """Sockets belong to the loop they are made in."""
    return SceneClient(endpoint)


def _until_there(
    runner: asyncio.Runner, client: SceneClient, child: subprocess.Popen[str], said: IO[str]
) -> None:
    limit = time.monotonic() + START_S
    while True:
        try:
            runner.run(client.ping(0.25))
            return
        except Late:
            code = child.poll()
            if code is not None:
                raise _failure(code, said) from None
            if time.monotonic() > limit:
                text = f"the scene engine was not ready within {START_S:g} s"
                raise EngineError(text) from None


def _gone(child: subprocess.Popen[str], said: IO[str]) -> JepadError | None:
    """Why a child that was there is no more; None while it is."""
    code = child.poll()
    return None if code is None else EngineError(f"the engine ended: {_failure(code, said)}")


def _failure(code: int, said: IO[str]) -> JepadError:
    """What it said last, as the error that its exit code means."""
    said.seek(0)
    lines = [line for line in said.read().splitlines() if line.strip()]
    last = lines[-1].removeprefix("jepad-scene: ") if lines and code > 0 else meaning(code)
    return _RAISED.get(code, EngineError)(last)


def _end(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
