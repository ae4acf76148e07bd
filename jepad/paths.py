"""Where things are on this machine, for the system service and for a user's session.

Owns: every path and name outside the package. Does not create anything.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from jepad.errors import SettingError

BUS_NAME = "org.jepad1"
OBJECT_PATH = "/org/jepad1"


@dataclass(frozen=True, slots=True)
class Roots:
    """Roots of the kernel's file systems, injectable for tests and foreign trees."""

    proc: str = "/proc"
    sys: str = "/sys"
    run: str = "/run"
    dev: str = "/dev"


@dataclass(frozen=True, slots=True)
class Places:
    """Paths of one running jepad."""

    runtime: str  # sockets, lock files, the private bus's address
    state: str  # persisted statistics, models
    config: str  # jepad.toml
    shm_prefix: str  # streams are /dev/shm/<prefix>.<stream>

    @property
    def engine_socket(self) -> str:
        """The ZeroMQ ipc endpoint of the engine."""
        return f"ipc://{self.runtime}/engine.sock"

    @property
    def scene_socket(self) -> str:
        """The same of the scene engine."""
        return f"ipc://{self.runtime}/scene.sock"

    @property
    def bus_address_file(self) -> str:
        """Where `jepad --session` leaves the address of a bus it had to start."""
        return f"{self.runtime}/bus-address"


SYSTEM = Places("/run/jepad", "/var/lib/jepad", "/etc/jepad/jepad.toml", "jepad")


def session() -> Places:
    """Paths of the calling user's own jepad; XDG base directories, else /tmp by uid."""
    uid = os.getuid()
    given = os.environ.get("XDG_RUNTIME_DIR")
    home = os.path.expanduser("~")
    state = os.environ.get("XDG_STATE_HOME") or f"{home}/.local/state"
    config = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return Places(
        runtime=f"{given}/jepad" if given else f"/tmp/jepad-{uid}",
        state=f"{state}/jepad",
        config=f"{config}/jepad/jepad.toml",
        shm_prefix=_prefix(f"jepad-{uid}"),
    )


def _prefix(default: str) -> str:
    """$JEPAD_SHM_PREFIX lets several jepads of one user live side by side."""
    name = os.environ.get("JEPAD_SHM_PREFIX") or default
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name):
        raise SettingError(f"JEPAD_SHM_PREFIX: {name!r} may hold letters, digits, '.', '_', '-'")
    return name
