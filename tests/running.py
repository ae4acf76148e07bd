"""A real jepad for tests: processes, directories and a bus of its own, all gone afterwards."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 60.0  # a deadline for a loaded machine, not a measurement
PREFIXES: set[str] = set()  # of shared memory, swept when the tests end
BIN = Path(sys.executable).parent


def environment(home):
    """Everything of the daemon below `home`; no session bus but the one it starts."""
    env = {k: v for k, v in os.environ.items() if k not in ("DBUS_SESSION_BUS_ADDRESS", "COLUMNS")}
    dirs = {f"XDG_{k}": str(home) for k in ("STATE_HOME", "CONFIG_HOME", "RUNTIME_DIR")}
    own = "jepad-test-" + hashlib.sha256(str(home).encode()).hexdigest()[:12]
    PREFIXES.add(own)
    return env | dirs | {"NO_COLOR": "1", "JEPAD_SHM_PREFIX": own}


def jepad(home, *words, timeout=PATIENCE_S):
    """`jepad WORDS` to its end."""
    return subprocess.run(
        [BIN / "jepad", *words],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def jepactl(home, *words):
    """`jepactl --session WORDS` to its end."""
    return subprocess.run(
        [BIN / "jepactl", "--session", *words],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def until(what, condition):
    """Wait for a condition; its value."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {PATIENCE_S:.0f} s for: {what}")


@contextlib.contextmanager
def daemon(home, *words):
    """A running `jepad --session`; terminated at the end."""
    with open(f"{home}/daemon.log", "wb") as log:
        child = subprocess.Popen(
            [BIN / "jepad", "--session", *words], env=environment(home), stdout=log, stderr=log
        )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGCONT)
            child.terminate()
        try:
            child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            raise


def described(home):
    """`jepactl status --json`, {} while there is no answer."""
    text = jepactl(home, "status", "--json").stdout
    got = json.loads(text) if text.startswith("{") else {}
    return got if "pid" in got else {}


def children(pid, needle):
    """Child processes whose command line holds `needle`."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(p) for p in found if needle in Path(f"/proc/{p}/cmdline").read_bytes()]
