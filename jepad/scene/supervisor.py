"""Keeps the scene engines alive, one a device, as children of this asyncio program.

Owns: their flags, the verdict that one hangs. Loads neither onnxruntime nor torch.
"""

from __future__ import annotations

import glob
import os
import sys
from dataclasses import dataclass

from jepad.errors import EngineError
from jepad.paths import Places
from jepad.scene.client import SceneClient
from jepad.scene.placement import GPUS
from jepad.worker.keeper import Keeper, State

#: One run of the largest model on a slow CPU takes minutes; what takes longer is stuck.
LONGEST_RUN_S = 600.0
#: Hashing and loading 5 GB from a slow disk.
START_GRACE_S = 300.0
_RANK: tuple[State, ...] = ("running", "starting", "restarting", "failed", "stopped")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is served, and where."""

    model: str  # a name from the library, or a directory
    #: "auto" (most free memory, else the CPU), "cpu", "cuda:0"; several with commas, or "all" GPUs:
    #: one engine a device.
    device: str = "auto"
    precision: str = ""  # "" = the device's own
    memory_max_bytes: int = 0
    threads: int = 1


class SceneSupervisor:
    """start(), then read `state`; stop() leaves no process behind."""

    def __init__(self, places: Places, wanted: Wanted, stall_s: float = 10.0) -> None:
        devices = devices_of(wanted.device)
        names = ["scene", *(f"scene-{i}" for i in range(1, len(devices)))]
        self.client = SceneClient(*(f"ipc://{places.runtime}/{name}.sock" for name in names))
        self._keepers = [
            _Keeper(self.client, i, _command(places, wanted, device, names[i]), stall_s)
            for i, device in enumerate(devices)
        ]

    @property
    def state(self) -> State:
        """Of the best of them."""
        return min((k.state for k in self._keepers), key=_RANK.index)

    @property
    def reason(self) -> str:
        """Of the last end of one."""
        return next((k.reason for k in self._keepers if k.reason), "")

    @property
    def restarts(self) -> int:
        """Of all."""
        return sum(k.restarts for k in self._keepers)

    @property
    def pids(self) -> tuple[int, ...]:
        """Of those that live."""
        return tuple(k.pid for k in self._keepers if k.pid)

    async def start(self) -> None:
        """Begin; returns at once."""
        for keeper in self._keepers:
            await keeper.start()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        for keeper in self._keepers:
            await keeper.stop()
        await self.client.close()


def devices_of(wanted: str, gpus: str = GPUS) -> list[str]:
    """Names of devices, one an engine; "all" without any GPU is the CPU."""
    if wanted == "all":
        count = len(glob.glob(gpus))
        return [f"cuda:{i}" for i in range(count)] or ["cpu"]
    return [d.strip() for d in wanted.split(",") if d.strip()] or ["auto"]


class _Keeper(Keeper):
    """Of one engine."""

    def __init__(self, client: SceneClient, place: int, command: list[str], stall_s: float) -> None:
        super().__init__("scene engine", command, stall_s)
        self._client, self._place = client, place
        self._start_grace_s = START_GRACE_S

    def _died(self, error: EngineError, lasting: bool) -> None:
        self._client.fail(error, lasting, self._place)

    async def _ask(self, timeout: float) -> str:
        pong = await self._client.ping(timeout, self._place)
        if pong.busy_ms > LONGEST_RUN_S * 1000:
            return f"one run took over {LONGEST_RUN_S:.0f} s"
        return ""


def _command(places: Places, wanted: Wanted, device: str, name: str) -> list[str]:
    args = [sys.executable, "-m", "jepad.scene", "--parent", str(os.getpid())]
    args += ["--runtime", places.runtime, "--prefix", places.shm_prefix, "--name", name]
    args += ["--state", places.state, "--model", wanted.model, "--device", device]
    args += ["--precision", wanted.precision, "--threads", str(wanted.threads)]
    return [*args, "--memory-max", str(wanted.memory_max_bytes)]
