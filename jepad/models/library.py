"""Installed video world models: what each one is, where its files are, that they are intact.

Owns: the manifest, finding, verifying, atomic installation and removal.
Does not know: any runtime, nor what is inside a weight file.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import msgspec

from jepad.errors import ModelError, NotFound, SettingError

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
TOY = "toy"  # ships with jepad; found under this name where nobody installed another
NOT_STATED = "not stated"
FORMAT = 1
#: Parts a model may have, in the order they run; each is a graph and a shape.
PARTS = ("encoder", "predictor", "action", "probe")
Progress = Callable[[str, int, int], None]  # what is done now, bytes done, bytes in all


def graph_name(part: str, precision: str) -> str:
    """File of a part's ONNX graph, its weights beside it in `<graph_name>.data`. Precision is of
    an encoder; the other parts are in fp32."""
    return f"{part}.{precision}.onnx"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an installed model is; manifest.json holds exactly these fields."""

    name: str
    version: str  # "2.0" | "2.1" | "2-ac"
    #: Part to its shape as JSON: encoder, and predictor, action, probe where it has them
    #: (jepa/video/shape.py reads them).
    shapes: Mapping[str, Mapping[str, Any]]
    #: Of the checkpoint it was made from: path, sha256, scheme ("meta", "hf", "own"), key.
    source: Mapping[str, Any]
    files: Mapping[str, str]  # file name to SHA-256, hex
    precisions: tuple[str, ...]  # of the ONNX graphs: "int8", "fp32"
    #: Bytes of weights a precision keeps in memory, all parts; counted from the files' tensors.
    resident_bytes: Mapping[str, int]
    graph_bytes: Mapping[str, int] = field(default_factory=dict)  # the same, graph by graph
    licence: str = NOT_STATED  # of the weights
    gate: Mapping[str, Any] = field(default_factory=dict)  # precision to its accuracy figures
    #: Weights nobody trained. True, false, or None: nobody said.
    random: bool | None = None
    #: Anything else worth keeping: how it was trained, measured figures, bounds of its actions.
    story: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """The model's identity: SHA-256 of the table of its files, hex."""
        table = "".join(f"{self.files[name]}  {name}\n" for name in sorted(self.files))
        return hashlib.sha256(table.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Installed:
    """A model and its directory."""

    directory: str
    manifest: Manifest

    def path(self, name: str) -> str:
        """Of a file the manifest names; NotFound for any other."""
        if name not in self.manifest.files:
            raise NotFound(f"model {self.manifest.name} has no {name}; import it again")
        return os.path.join(self.directory, name)

    def graph(self, part: str, precision: str) -> str:
        """Path of a part's ONNX graph; NotFound says which precisions there are.

        What follows the encoder is always float: of a model in int8, too, it is the fp32 file.
        """
        name = graph_name(part, precision if part == "encoder" else "fp32")
        if name in self.manifest.files:
            return os.path.join(self.directory, name)
        if part not in self.manifest.shapes:
            raise NotFound(f"model {self.manifest.name} has no {part}")
        if part != "encoder":
            raise NotFound(f"model {self.manifest.name} has no {part}.fp32.onnx: import again")
        have = ", ".join(self.manifest.precisions) or "none"
        raise NotFound(
            f"model {self.manifest.name} has no {part} in {precision} (it has: {have}); "
            f"import it again with --precision {precision}"
        )


def library(state: str) -> str:
    """The directory of all models in a state directory."""
    return os.path.join(state, "models")


def checked_name(name: str) -> str:
    """A name that can be a directory's; SettingError for any other."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise SettingError(
            f"model name {name!r}: write up to 64 letters, digits, '.', '_', '-', a letter first"
        )
    return name


def installed(root: str) -> list[Installed]:
    """All models of a library (`library(state)`) that can be read, by name, and the shipped one."""
    return [model for model in _each(root).values() if isinstance(model, Installed)]


def broken(root: str) -> dict[str, str]:
    """Name to what is wrong, for models of a library whose manifest can't be read."""
    return {name: str(why) for name, why in _each(root).items() if isinstance(why, ModelError)}


def find(root: str, name: str) -> Installed:
    """A model by name: of the library, or the shipped toy. Its files are not hashed here.

    NotFound: there is none; ModelError: its manifest can't be used.
    """
    directory = os.path.join(root, checked_name(name))
    if os.path.isdir(directory):
        return read(directory)
    if name == TOY and os.path.exists(os.path.join(shipped(), MANIFEST)):
        return read(shipped())
    have = ", ".join(_names(root)) or "none"
    raise NotFound(
        f"no model {name!r} is installed (installed: {have}; shipped: {TOY}); "
        f"next: jepactl model import CHECKPOINT --name {name}"
    )


def shipped() -> str:
    """Directory of the toy model in the package."""
    return str(resources.files("jepad.models").joinpath("data", TOY))


def read(directory: str) -> Installed:
    """The model of a directory, its manifest checked, its files not yet."""
    path = os.path.join(directory, MANIFEST)
    try:
        with open(path, "rb") as f:
            manifest = msgspec.json.decode(f.read(1 << 24), type=Manifest)
    except OSError as e:
        raise ModelError(f"{path}: manifest can't be read ({e.strerror})") from e
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ModelError(f"{path}: no manifest of a model ({e}); import it again") from e
    _check(path, manifest)
    return Installed(directory, manifest)


def verify(model: Installed, progress: Progress | None = None) -> None:
    """Hash every file; ModelError names the first that is missing, damaged or not the one made."""
    names = sorted(model.manifest.files)
    total = sum(_size(os.path.join(model.directory, name)) for name in names)
    done = 0
    for name in names:
        path = os.path.join(model.directory, name)
        actual = sha256(path, _onward(progress, done, total))
        done += _size(path)
        expected = model.manifest.files[name]
        if actual != expected:
            raise ModelError(
                f"{path}: SHA-256 is {actual}, the manifest says {expected}; "
                "the file is damaged or was changed: import the model again"
            )


def _onward(progress: Progress | None, before: int, total: int) -> Callable[[int], object]:
    """Progress within one file as progress over all."""
    return lambda done: progress and progress("hash", before + done, total)


def sha256(path: str, told: Callable[[int], object] = lambda _: None) -> str:
    """Hex digest of a file; `told` hears how many bytes are done."""
    digest, done = hashlib.sha256(), 0
    try:
        with open(path, "rb", buffering=0) as f:
            while block := f.read(1 << 22):
                digest.update(block)
                done += len(block)
                told(done)
    except OSError as e:
        raise ModelError(f"{path}: can't be read ({e.strerror})") from e
    return digest.hexdigest()


def write(directory: str, manifest: Manifest) -> None:
    """Put manifest.json beside its files, complete and on disk or not at all."""
    path = os.path.join(directory, MANIFEST)
    with open(f"{path}.new", "wb") as f:
        f.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
        f.flush()
        os.fsync(f.fileno())
    os.chmod(f.name, 0o644)
    os.replace(f.name, path)


@contextmanager
def installing(root: str, name: str, replace: bool = False) -> Iterator[str]:
    """An empty directory to fill; at the end of the block it becomes the model `name`, at once.

    It must hold a manifest by then. An error in the block, or a kill, leaves the library as it
    was; what a kill leaves in hidden directories the next installation clears.
    """
    target = place(root, name, replace)
    _clear(root)
    scratch = tempfile.mkdtemp(prefix=f".new-{os.getpid()}-", dir=root)
    try:
        os.chmod(scratch, 0o755)  # noqa: S103 - models are read by others, as /usr is
        yield scratch
        read(scratch)
        _sync(scratch)
        _settle(scratch, target, replace)
        _sync_directory(root)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def place(root: str, name: str, replace: bool = False) -> str:
    """The directory that a new model will have; its library is made where there is none.

    SettingError: there is a model, or with `replace` something that is none. ModelError: nothing
    can be written there.
    """
    target = os.path.join(root, checked_name(name))
    try:
        os.makedirs(root, mode=0o755, exist_ok=True)
    except OSError as e:
        raise ModelError(f"{root}: can't keep models here ({e.strerror})") from e
    if not os.access(root, os.W_OK | os.X_OK):
        raise ModelError(f"{root}: can't keep models here (not writable)")
    if os.path.lexists(target):
        if not replace:
            raise SettingError(
                f"model {name!r} is installed already; add --force or take another name"
            )
        _check_replaceable(target)
    return target


def remove(root: str, name: str) -> None:
    """Delete an installed model; NotFound if there is none."""
    target = os.path.join(root, checked_name(name))
    if not os.path.isdir(target):
        raise NotFound(f"no model {name!r} is installed in {root}")
    scratch = tempfile.mkdtemp(prefix=f".old-{os.getpid()}-", dir=root)
    os.replace(target, os.path.join(scratch, name))
    shutil.rmtree(scratch)


def _each(root: str) -> dict[str, Installed | ModelError]:
    """Every model by name, or what is wrong with it."""
    places = {name: os.path.join(root, name) for name in _names(root)}
    if os.path.exists(os.path.join(shipped(), MANIFEST)):
        places.setdefault(TOY, shipped())
    out: dict[str, Installed | ModelError] = {}
    for name in sorted(places):
        try:
            out[name] = read(places[name])
        except ModelError as error:
            out[name] = error
    return out


def _names(root: str) -> list[str]:
    try:
        return sorted(e.name for e in os.scandir(root) if e.is_dir() and e.name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as e:
        raise ModelError(f"{root}: models can't be listed ({e.strerror})") from e


def _check(path: str, manifest: Manifest) -> None:
    if manifest.format != FORMAT:
        raise ModelError(f"{path}: format {manifest.format}, known is {FORMAT}; import it again")
    strays = [n for n in manifest.files if os.path.basename(n) != n or n in ("", ".", "..")]
    if strays:
        raise ModelError(f"{path}: file name {strays[0]!r} leaves its directory")
    if "encoder" not in manifest.shapes or not manifest.files:
        raise ModelError(f"{path}: names no encoder or no files; import it again")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as e:
        raise ModelError(f"{path}: can't be read ({e.strerror})") from e


def _check_replaceable(target: str) -> None:
    """What is replaced is deleted: nothing but a model may be."""
    if not os.path.isfile(os.path.join(target, MANIFEST)):
        raise SettingError(
            f"{target}: no model (it has no {MANIFEST}), so it is kept; take another name"
        )


def _settle(scratch: str, target: str, replace: bool) -> None:
    """`scratch` becomes `target`; a model that was there goes away after, not before."""
    if replace and os.path.lexists(target):
        _check_replaceable(target)
        old = tempfile.mkdtemp(prefix=f".old-{os.getpid()}-", dir=os.path.dirname(target))
        os.replace(target, os.path.join(old, "model"))
        os.replace(scratch, target)
        shutil.rmtree(old, ignore_errors=True)
        return
    try:
        os.replace(scratch, target)
    except OSError as e:
        raise SettingError(f"{target}: was installed by somebody else meanwhile; kept") from e


def _clear(root: str) -> None:
    """Remove what killed installations left: their process is gone."""
    for entry in os.scandir(root):
        found = re.fullmatch(r"\.(?:new|old)-(\d+)-\w+", entry.name)
        if found and not os.path.exists(f"/proc/{found[1]}"):
            shutil.rmtree(entry.path, ignore_errors=True)


def _sync(directory: str) -> None:
    for entry in os.scandir(directory):
        with open(entry.path, "rb") as f:
            os.fsync(f.fileno())
    _sync_directory(directory)


def _sync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
