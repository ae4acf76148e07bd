"""From what a person allowed to what a camera's process is told.

Owns: how the options of a camera go before the settings of all; the file that carries the result.
Does not know: who may ask, how the process does it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from jepad import config
from jepad.camera.settings import CameraSettings, written
from jepad.errors import JepadError, SettingError
from jepad.guard.consent import Camera

#: What the settings say of all cameras, and a camera may say otherwise.
SHARED = ("size", "fps", "retention_min", "filters", "faces_model", "faces_sha256")


#: A smaller picture than this shows too little motion; a model of a smaller one shrinks it itself.
LEAST_SIDE, SIDE, CELL = 192, 224, 16


def settings_of(camera: Camera, source: str, settings: config.Config, state: str) -> CameraSettings:
    """SettingError names the option that can't be used."""
    shared = {n: getattr(settings.camera, n) for n in SHARED if getattr(settings.camera, n)}
    if not {"size"} & {*shared, *camera.options}:
        shared["size"] = _side(settings.scene.model, state)
    return _checked({**shared, **camera.options, "source": source})


def options_of(given: Mapping[str, Any], source: str) -> dict[str, Any]:
    """What may be kept of one camera: the fields of its settings, checked."""
    if "source" in given:
        raise SettingError("unknown option 'source': it stands before the options")
    _checked({**given, "source": source})
    return dict(given)


def path_of(runtime: str, name: str) -> str:
    """Of the settings' file."""
    return f"{runtime}/camera-{name}.json"


def write(path: str, settings: CameraSettings) -> None:
    """For its process alone: a source may hold a password."""
    scratch = f"{path}.{os.getpid()}"
    try:
        if os.path.lexists(scratch):
            os.unlink(scratch)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(scratch, flags, 0o600), "wb") as file:
            file.write(written(settings))
        os.rename(scratch, path)
    except OSError as error:
        raise SettingError(f"{path}: cannot write: {error.strerror}") from error


def _side(model: str, state: str) -> int:
    """What the model of pictures takes, so that it need not cut them to size again."""
    if not model:
        return SIDE
    from jepad.models import library  # only where there is one

    try:
        encoder = library.find(library.library(state), model).manifest.shapes.get("encoder", {})
    except JepadError:
        return SIDE
    side = int(encoder.get("size", SIDE))
    return side if LEAST_SIDE <= side <= 512 and side % CELL == 0 else SIDE


def _checked(fields: Mapping[str, Any]) -> CameraSettings:
    try:
        return msgspec.convert(fields, CameraSettings)
    except msgspec.ValidationError as error:
        body, _, path = str(error).partition(" - at `$.")
        where = path.rstrip("`")
        raise SettingError(f"{where}: {body}" if where else body) from error
