"""The gym's manifest: which traces there are, what ran in them and what was done when.

Owns: the records of MANIFEST.json, reading it, and appending so that a kill at any moment leaves
the old manifest or the new one, also with several recorders at once.
Does not know: how an episode was recorded, or what is learned from it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from jepad.errors import SettingError

NAME = "MANIFEST.json"
_VERSION = 1
#: Others hold the lock for milliseconds; who holds it longer is stuck.
_PATIENCE_S = 60.0

Floor = Literal["native", "guest"]
Split = Literal["train", "held"]


@dataclass(frozen=True, slots=True)
class Applied:
    """An action as it was done: it acts from the first row with a time > t on."""

    t: float  # seconds on the episode's clock
    kind: str  # of jepad.heads.action.KINDS
    unit: str  # control group as in series names; "" = the host
    value: float  # bytes, weight, or 0
    undo: bool = False  # takes an earlier action back: the twin is no measure of its effect


@dataclass(frozen=True, slots=True)
class Episode:
    """One recorded trace."""

    id: str
    file: str
    floor: Floor
    seed: int
    hz: float
    seconds: float
    kernel: str  # release, and which kernel file stood for which action
    memory_mib: int
    swap_mib: int
    units: dict[str, str]  # control group as in series names -> workload
    actions: tuple[Applied, ...] = ()
    twin: str | None = None  # id of the episode of the same seed without the actions
    split: Split = "train"
    labels: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Manifest:
    version: int
    episodes: list[Episode]


def split_of(seed: int) -> Split:
    """Every fifth seed is held out and never trained on."""
    return "held" if seed % 5 == 2 else "train"


def trace_path(directory: str, episode: Episode) -> str:
    """Where an episode's rows are."""
    return os.path.join(directory, episode.file)


def read_manifest(directory: str) -> list[Episode]:
    """The episodes recorded so far, oldest first; none where nothing was recorded."""
    path = os.path.join(directory, NAME)
    try:
        with open(path, "rb") as f:
            manifest = msgspec.json.decode(f.read(), type=_Manifest)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise SettingError(f"{path}: not a gym's manifest ({error})") from error
    if manifest.version != _VERSION:
        raise SettingError(f"{path}: version {manifest.version}, this jepad reads {_VERSION}")
    return manifest.episodes


def append(directory: str, episode: Episode) -> None:
    """Add an episode whose trace is complete; one of the same id is replaced where it stands."""
    with _locked(directory):
        by_id = {e.id: e for e in read_manifest(directory)}
        by_id[episode.id] = episode
        _write(os.path.join(directory, NAME), _Manifest(_VERSION, list(by_id.values())))


def _write(path: str, manifest: _Manifest) -> None:
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    fresh = f"{path}.new"
    with open(fresh, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.replace(fresh, path)


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """The directory itself is the lock: no file to leave behind."""
    try:
        os.makedirs(directory, exist_ok=True)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SettingError(f"{directory}: {error.strerror}") from error
    try:
        _acquire(fd, directory)
        yield
    finally:
        os.close(fd)


def _acquire(fd: int, directory: str) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise SettingError(
                    f"{directory}: locked by another recorder for a minute"
                ) from None
            time.sleep(0.02)
