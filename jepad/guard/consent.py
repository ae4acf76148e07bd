"""Which cameras a person allowed. None is, until one did.

Owns: cameras.json in the state directory: its form, its mode, that it is whole or not at all.
Does not know: what is plugged in, who asks, what a camera shows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from jepad.errors import NotFound, SettingError

FILE = "cameras.json"
MAX_CAMERAS = 32
MAX_BYTES = 1 << 20


class Camera(msgspec.Struct, frozen=True, omit_defaults=True):
    """One camera that somebody asked for. Allowed is the device of this identity and no other."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_]{0,30}$")]
    identity: Annotated[str, Meta(min_length=1, max_length=4096)]
    source: Annotated[str, Meta(min_length=1, max_length=4096)]
    product: str = ""
    allowed: bool = False
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)


class _Book(msgspec.Struct, frozen=True):
    cameras: tuple[Camera, ...] = ()
    version: Annotated[int, Meta(ge=1, le=1)] = 1


class Consent:
    """The file, read anew for every question: whoever takes a consent back is obeyed at once.

    A file that is damaged, or that another user could have written, allows nothing and is not
    written over: SettingError says what to do."""

    def __init__(self, state: str) -> None:
        self.path = f"{state}/{FILE}"

    def cameras(self) -> dict[str, Camera]:
        """All that were asked for, allowed or not, by name."""
        book = self._read()
        found = {camera.name: camera for camera in book.cameras}
        if len(found) != len(book.cameras):
            raise SettingError(f"{self.path}: a name is in it twice. Mend it or remove it")
        return found

    def get(self, name: str) -> Camera:
        """NotFound when nobody asked for it."""
        found = self.cameras().get(name)
        if found is None:
            raise NotFound(f"no camera {name!r}. See: jepactl camera list")
        return found

    def allowed(self, identity: str) -> Camera | None:
        """The camera of this identity, if it may be opened."""
        return next(
            (c for c in self.cameras().values() if c.identity == identity and c.allowed), None
        )

    def put(self, camera: Camera) -> None:
        """Add it, or write it anew."""
        found = self.cameras()
        if camera.name not in found and len(found) >= MAX_CAMERAS:
            raise SettingError(f"{MAX_CAMERAS} cameras are the most: remove one first")
        self._write(found | {camera.name: camera})

    def allow(self, name: str, allowed: bool) -> Camera:
        """Give or take back the consent; the camera as it is now."""
        camera = msgspec.structs.replace(self.get(name), allowed=allowed)
        self.put(camera)
        return camera

    def remove(self, name: str) -> None:
        """Forget it, its consent included."""
        self.get(name)
        found = self.cameras()
        del found[name]
        self._write(found)

    def _read(self) -> _Book:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return _Book()
        except OSError as error:
            raise SettingError(f"{self.path}: cannot read: {error.strerror}") from error
        try:
            self._check(os.fstat(fd))
            raw = os.read(fd, MAX_BYTES)
        finally:
            os.close(fd)
        try:
            return msgspec.json.decode(raw, type=_Book)
        except (msgspec.DecodeError, RecursionError) as error:
            raise SettingError(
                f"{self.path} is damaged ({error}): no camera is opened. Mend it or remove it"
            ) from error

    def _check(self, found: os.stat_result) -> None:
        """That nobody else could have allowed a camera."""
        ours = found.st_uid in (0, os.geteuid()) and not stat.S_IMODE(found.st_mode) & 0o022
        if not ours or not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            raise SettingError(
                f"{self.path}: others could have written it: no camera is opened. Look at it, then"
                f" chown it to uid {os.geteuid()} and chmod 600, or remove it"
            )

    def _write(self, cameras: Mapping[str, Camera]) -> None:
        raw = msgspec.json.format(msgspec.json.encode(_Book(tuple(cameras.values()))), indent=1)
        scratch = f"{self.path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            _whole(scratch, raw + b"\n")
            os.rename(scratch, self.path)
            _settle(os.path.dirname(self.path))
        except OSError as error:
            raise SettingError(f"{self.path}: cannot write: {error.strerror}") from error


def _whole(path: str, raw: bytes) -> None:
    """On the disk, or not there."""
    if os.path.lexists(path):
        os.unlink(path)  # of a process of this number that died over it
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(fd)
    except BaseException:
        os.unlink(path)
        raise


def _settle(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
