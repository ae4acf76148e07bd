"""What jepad needs or can use on this machine, each looked at for real.

Owns: the checks and their advice. Does not know how they are shown.
"""

from __future__ import annotations

import glob
import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jepad import config, paths
from jepad.cli import rings
from jepad.cli.bus import Client, Connection, candidates
from jepad.cli.status import MANAGER
from jepad.errors import BusError, JepadError
from jepad.models.store import load
from jepad.ring.stream import Stream, listing
from jepad.sources.registry import build
from jepad.sources.snapshot import Snapshot

OK, ABSENT, BROKEN = "ok", "absent", "broken"
#: A telemetry stream of 4096 slots with 500 series, and as much again.
SHM_BYTES = 64 << 20
#: What to do for a source that finds nothing here, where anything can be done.
ADVICE = {
    "psi": "boot with psi=1 on the kernel command line (CONFIG_PSI)",
    "thermal": "on real hardware: install lm-sensors, run sensors-detect",
    "nvidia": "for an NVIDIA GPU: install its driver and libnvidia-ml",
    "rapl": "readable by root only, or for group jepad by our udev rule",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: its name, ok, absent or broken, what was seen, what to do."""

    name: str
    state: str
    what: str
    todo: str = ""


def findings(bus: str) -> list[Finding]:
    """All checks, in the order in which things depend on each other."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _kernel,
        _shared_memory,
        lambda: _settings(bus),
        _sources,
        _model,
        lambda: _buses(bus),
        _service_manager,
        lambda: _daemon(bus),
        lambda: _streams(bus),
    )
    return [finding for check in checks for finding in check()]


def _kernel() -> Iterator[Finding]:
    yield Finding("kernel", OK, f"{os.uname().sysname} {os.uname().release} {os.uname().machine}")
    if os.path.exists("/proc/pressure/memory"):
        yield Finding("pressure (PSI)", OK, "/proc/pressure")
    else:
        yield Finding("pressure (PSI)", ABSENT, "no /proc/pressure", ADVICE["psi"])
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        yield Finding("cgroup v2", OK, "/sys/fs/cgroup")
    else:
        what = "/sys/fs/cgroup is not a unified hierarchy; causes are told without their unit"
        yield Finding("cgroup v2", ABSENT, what)


def _shared_memory() -> Iterator[Finding]:
    try:
        room = os.statvfs("/dev/shm")
    except OSError as error:
        why, todo = error.strerror, "mount -t tmpfs tmpfs /dev/shm"
        yield Finding("shared memory", BROKEN, f"/dev/shm: {why}", todo)
        return
    free = room.f_bavail * room.f_frsize
    what = f"/dev/shm has {free / 1e6:.0f} MB free"
    if free < SHM_BYTES:
        todo = f"free {SHM_BYTES / 1e6:.0f} MB there, or: mount -o remount,size=256M /dev/shm"
        yield Finding("shared memory", BROKEN, what, todo)
    elif not os.access("/dev/shm", os.W_OK | os.X_OK):
        yield Finding("shared memory", BROKEN, "/dev/shm is not writable", "chmod 1777 /dev/shm")
    else:
        yield Finding("shared memory", OK, what)


def _settings(bus: str) -> Iterator[Finding]:
    path = config.redirected(rings.places(bus).config)
    try:
        config.load(path)
    except JepadError as error:
        yield Finding("settings", BROKEN, str(error), "see jepad.toml(5)")
        return
    there = os.path.exists(path)
    yield Finding("settings", OK, path if there else f"all defaults ({path} is not there)")


def _sources() -> Iterator[Finding]:
    """Describe and read each source once, as the daemon does."""
    roots = paths.Roots()
    snapshot = Snapshot(build(roots))
    snapshot.take()
    for state in snapshot.states:
        name = f"source {state.name}"
        if state.state == "ok":
            yield Finding(name, OK, f"{state.series} series in {state.duration_s * 1e3:.1f} ms")
        elif state.state == "absent":
            yield Finding(name, ABSENT, "nothing of it here", _advice(state.name, roots))
        else:
            todo = f'or leave it out: [sources] disable = ["{state.name}"]'
            yield Finding(name, BROKEN, state.reason, todo)


def _advice(source: str, roots: paths.Roots) -> str:
    """No permission helps where there is no counter."""
    if source == "rapl" and not glob.glob(f"{roots.sys}/class/powercap/*:*"):
        return ""
    return ADVICE.get(source, "")


def _model() -> Iterator[Finding]:
    try:
        files = load(None)
    except JepadError as error:
        todo = "install jepad again; until then the baseline forecasts"
        yield Finding("model", BROKEN, str(error), todo)
    else:
        yield Finding("model", OK, f"{files.digest[:12]} {files.onnx_path} (digest checked)")
    if importlib.util.find_spec("onnxruntime"):
        yield Finding("onnxruntime", OK, "installed")
    else:
        what = "not installed: the engine can't run, the baseline forecasts"
        yield Finding("onnxruntime", BROKEN, what, "pip install onnxruntime")


def _buses(bus: str) -> Iterator[Finding]:
    for which, address in candidates(bus):
        try:
            Connection(which, address).close()
        except (OSError, BusError) as error:
            todo = "`jepad --session` starts one of its own" if which == "session" else ""
            why = getattr(error, "strerror", None) or error
            yield Finding(f"{which} bus", ABSENT, f"{address}: {why}", todo)
        else:
            yield Finding(f"{which} bus", OK, address)


def _service_manager() -> Iterator[Finding]:
    if os.path.isdir("/run/systemd/system"):
        yield Finding("systemd", OK, "/run/systemd/system")
    else:
        yield Finding("systemd", ABSENT, "is not the service manager", "run: jepad --session")


def _daemon(bus: str) -> Iterator[Finding]:
    client = Client(bus)
    try:
        about: dict[str, Any] = json.loads(client.call(MANAGER, "Describe")[0])
    except BusError as error:
        yield Finding("jepad", ABSENT, *str(error).split("\n", 1))
        return
    what = f"{about['state']} on the {client.which} bus, pid {about['pid']}"
    unit = "jepad-engine@cpu" if client.which == "system" else ""
    if about["state"] == "degraded":
        todo = f"journalctl -u {unit}" if unit else "look at what jepad prints"
        yield Finding("jepad", BROKEN, f"{what}; engine {about['engine']}", todo)
    else:
        yield Finding("jepad", OK, f"{what}; engine {about['engine']}")
    for source in about["sources"]:
        if source["state"] == "failed":
            yield Finding(f"jepad's source {source['name']}", BROKEN, source["reason"])


def _streams(bus: str) -> Iterator[Finding]:
    prefix = rings.places(bus).shm_prefix
    for name in listing(prefix):
        try:
            with Stream(prefix, name) as stream:
                what = f"{stream.state}, newest record {stream.head}"
                # Left by a writer that was killed: its successor takes it over.
                yield Finding(f"stream {name}", OK if stream.state == "live" else ABSENT, what)
        except JepadError as error:
            todo = "add yourself to group jepad" if os.getuid() else "restart jepad"
            yield Finding(f"stream {name}", BROKEN, str(error), todo)
