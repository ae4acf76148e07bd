"""Settings: one table of typed, documented, bounded fields that drives file, flags and man page.

Owns: names, types, defaults, limits and words of every setting. Does not know who uses them.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
from msgspec import Meta

from jepad.errors import SettingError


class Daemon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[daemon]"""

    interval_s: Annotated[float, Meta(ge=0.1, le=60, description="seconds between two samples")] = (
        1.0
    )
    redescribe_s: Annotated[
        float, Meta(ge=5, le=3600, description="seconds between two looks for new or gone series")
    ] = 60.0


class Sources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[sources]"""

    disable: Annotated[
        tuple[str, ...], Meta(description="sources not to read, by name (see jepactl doctor)")
    ] = ()


class Ring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[ring]"""

    telemetry_slots: Annotated[
        int, Meta(ge=256, le=65536, description="samples kept in the telemetry stream (2^k)")
    ] = 4096
    group: Annotated[
        str, Meta(description="group that may read the streams; empty: that of the daemon")
    ] = ""


class Engine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[engine]"""

    model: Annotated[
        str, Meta(description="path of a model's card (.json); empty: the one shipped")
    ] = ""
    series: Annotated[
        tuple[str, ...],
        Meta(description="patterns of the series to forecast, first match first; empty: built in"),
    ] = ()
    stall_s: Annotated[
        float, Meta(ge=2, le=600, description="seconds without a forecast before a restart")
    ] = 10.0


class Scene(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[scene]"""

    model: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9._-]{0,100}$",
            description="world model of pictures to serve (see jepactl model list); empty: none",
        ),
    ] = ""
    device: Annotated[
        str,
        Meta(
            pattern=r"^(auto|(cpu|cuda:[0-9]{1,2})(,(cpu|cuda:[0-9]{1,2}))*)$",
            description="where it runs: cpu, cuda:N, several with commas; auto: most free memory",
        ),
    ] = "auto"
    precision: Annotated[
        str,
        Meta(
            pattern=r"^(|int8|fp8|bf16|fp32)$",
            description="numbers it computes in: int8, fp8, bf16 or fp32; empty: the device's own",
        ),
    ] = ""
    memory_max_bytes: Annotated[
        int, Meta(ge=0, description="memory the model may take at most; 0: what is free")
    ] = 0
    threads: Annotated[int, Meta(ge=1, le=256, description="threads of the model on the CPU")] = 1


class Camera(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[camera]"""

    size: Annotated[
        int,
        Meta(
            ge=0,
            le=512,
            multiple_of=16,
            description="pixels a side of the pictures kept; 0: as the scene's model takes, or 224",
        ),
    ] = 0
    fps: Annotated[
        float, Meta(ge=0.1, le=60, description="pictures a second that are kept of a camera")
    ] = 4.0
    retention_min: Annotated[
        float,
        Meta(gt=0, le=1440, description="minutes after which pictures and embeddings are gone"),
    ] = 10.0
    filters: Annotated[
        tuple[str, ...],
        Meta(description="what is done to a picture before any other process can see it"),
    ] = ()
    faces_model: Annotated[
        str, Meta(description="path of the model that finds faces (YuNet, .onnx)")
    ] = ""
    faces_sha256: Annotated[
        str, Meta(pattern=r"^([0-9a-f]{64})?$", description="SHA-256 of that file")
    ] = ""
    follow: Annotated[
        bool, Meta(description="have the model of [scene] embed what the cameras see")
    ] = True
    ahead_s: Annotated[
        int, Meta(ge=0, le=10, description="seconds ahead that it predicts of a camera; 0: none")
    ] = 4


class Risk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[risk]"""

    raise_at: Annotated[
        float, Meta(gt=0, le=1, description="probability from which a prediction is raised")
    ] = 0.7
    clear_at: Annotated[
        float, Meta(ge=0, lt=1, description="probability below which it is cleared")
    ] = 0.4
    hold_s: Annotated[
        float,
        Meta(ge=0, le=3600, description="seconds a probability must last to raise or to clear"),
    ] = 3.0
    stall_share: Annotated[
        float,
        Meta(gt=0, lt=1, description="share of time stalled (PSI some) that counts as a stall"),
    ] = 0.2
    horizon_s: Annotated[
        float, Meta(ge=1, le=3600, description="how far ahead a risk is told, in seconds")
    ] = 60.0


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[limits]"""

    calls_burst: Annotated[int, Meta(ge=10, description="D-Bus calls a user may make at once")] = (
        2000
    )
    calls_per_s: Annotated[
        float, Meta(gt=0, description="D-Bus calls a user may make each second after that")
    ] = 200.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings; a section is a TOML table."""

    daemon: Daemon = Daemon()
    sources: Sources = Sources()
    ring: Ring = Ring()
    engine: Engine = Engine()
    scene: Scene = Scene()
    camera: Camera = Camera()
    risk: Risk = Risk()
    limits: Limits = Limits()


def load(path: str, *, required: bool = False) -> Config:
    """Read a TOML file. A missing file is all defaults, unless `required`.

    Raises SettingError naming file, setting and what was expected.
    """
    try:
        with open(path, "rb") as file:
            raw = tomllib.load(file)
    except FileNotFoundError:
        if required:
            raise SettingError(f"{path}: no such file. Check --config.") from None
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: cannot read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path}: not TOML: {error}") from error
    return parse(raw, where=path)


def parse(raw: dict[str, Any], where: str = "settings") -> Config:
    """Check types, bounds and names; SettingError carries the exact path and a suggestion."""
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise SettingError(f"{where}: {_explain(str(error))}") from error
    if config.risk.clear_at >= config.risk.raise_at:
        raise SettingError(f"{where}: risk.clear_at must be below risk.raise_at")
    if 0 < config.camera.size < 64:
        raise SettingError(f"{where}: camera.size: use 0, or 64 to 512")
    slots = config.ring.telemetry_slots
    if slots & (slots - 1):
        raise SettingError(f"{where}: ring.telemetry_slots: {slots} is not a power of two")
    return config


def settings() -> Iterator[tuple[str, str, object, str]]:
    """(path, type, default, description) of every setting, in file order."""
    for section, kind in get_type_hints(Config).items():
        for key, hint in get_type_hints(kind, include_extras=True).items():
            base, meta = get_args(hint)[:2]
            name = str(getattr(base, "__name__", base))
            yield f"{section}.{key}", name, getattr(kind(), key), meta.description


def _explain(message: str) -> str:
    """msgspec's message with the path first, as TOML writes it, and a near name."""
    body, _, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    unknown = re.search(r"unknown field `([^`]*)`", body)
    if not unknown:
        return f"{path}: {body}"
    name = f"{path}.{unknown[1]}" if path else unknown[1]
    known = [p for p, *_ in settings()] + list(get_type_hints(Config))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"{name}: unknown setting" + (f"; did you mean {near[0]}?" if near else "")


def redirected(path: str) -> str:
    """`path`, or $JEPAD_CONFIG where it is set."""
    return os.environ.get("JEPAD_CONFIG") or path
