"""A real `jepad --session` in directories and on a bus of its own, for a bench to measure."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Live:
    """A running daemon."""

    pid: int
    env: dict[str, str]
    python: str

    def jepactl(self, *words: str) -> str:
        """Output of `jepactl --session ...`."""
        tool = str(Path(self.python).with_name("jepactl"))
        done = subprocess.run(
            [tool, "--session", *words],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return done.stdout

    def describe(self) -> dict[str, object]:
        """`jepactl status --json`, {} while it doesn't answer."""
        text = self.jepactl("status", "--json")
        return dict(json.loads(text)) if text.startswith("{") else {}

    def children(self) -> list[int]:
        """Processes the daemon started: its engine, its bus."""
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(p) for p in found.split()]


@contextlib.contextmanager
def daemon(wait_s: float = 20.0) -> Iterator[Live]:
    """Start it, wait until the model speaks, stop it."""
    with tempfile.TemporaryDirectory(prefix="jepad-bench-") as home:
        env = {k: v for k, v in os.environ.items() if k != "DBUS_SESSION_BUS_ADDRESS"}
        env |= {f"XDG_{k}_HOME": home for k in ("STATE", "CONFIG")} | {"XDG_RUNTIME_DIR": home}
        env["JEPAD_SHM_PREFIX"] = f"jepad-bench-{os.getpid()}"
        log = open(f"{home}/log", "wb")  # noqa: SIM115
        child = subprocess.Popen(
            [sys.executable, "-m", "jepad", "--session"], env=env, stdout=log, stderr=log
        )
        live = Live(child.pid, env, sys.executable)
        try:
            end = time.monotonic() + wait_s
            while live.describe().get("state") != "running":
                if child.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"jepad did not start: {Path(log.name).read_text()[-2000:]}")
                time.sleep(0.2)
            yield live
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(15)
            log.close()
            for left in Path("/dev/shm").glob(env["JEPAD_SHM_PREFIX"] + ".*"):
                left.unlink()
