"""A model's files from its tensors: safetensors, graphs, gate, manifest; and an import's steps.

Owns: what is written and measured, in which order. Does not know: the command line, formats of
checkpoints.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

from jepad.errors import ModelError, SettingError
from jepad.jepa.video.shape import (
    ActionShape,
    AnyShape,
    EncoderShape,
    PredictorShape,
    to_json,
)
from jepad.learn.video import detect, export, measure, parts
from jepad.learn.video.checkpoint import Checkpoint, MetaProbe, open_checkpoint
from jepad.learn.video.request import Request, Tell
from jepad.learn.video.tensors import Entry, TensorFile
from jepad.models import footprint, library
from jepad.models.library import Manifest

#: A part's tensor by Meta's name.
Reader = Callable[[str, str], Tensor]
_KEPT = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is made of a model's tensors."""

    name: str
    version: str
    shapes: Mapping[str, AnyShape]
    source: Mapping[str, Any]
    precisions: tuple[str, ...] = ("int8",)  # of the encoder's graph
    licence: str = library.NOT_STATED
    random: bool | None = None
    story: Mapping[str, Any] = field(default_factory=dict)
    weights: bool = True  # keep safetensors, for GPUs and for training on
    ungated: bool = False  # take even a precision that misses the gate


def install(request: Request, tell: Tell) -> library.Installed:
    """Import a checkpoint into the library, whole or not at all."""
    tell("open", 0, 1)
    if request.probe_of is not None:
        return _with_probe(request, library.read(request.probe_of), tell)
    checkpoint = open_checkpoint(request.path, request.key)
    found = detect.detect(checkpoint, request.preset)
    name = library.checked_name(request.name or found.name)
    with library.installing(request.root, name, request.replace) as directory:
        source = {
            "path": os.path.abspath(request.path),
            "scheme": checkpoint.scheme,
            "key": checkpoint.key,
            "sha256": _hashes(checkpoint, request.sha256, tell),
        }
        _room(directory, found.shapes, request.precisions)
        recipe = Recipe(
            name=name,
            version=found.version,
            shapes=found.shapes,
            source=source,
            precisions=request.precisions,
            licence=request.licence or library.NOT_STATED,
            random=found.random,
            story={"notes": list(found.notes), "code_licence": "MIT (facebookresearch/vjepa2)"},
            ungated=request.ungated,
        )
        make(directory, recipe, checkpoint.get, tell)
    return library.find(request.root, name)


def _with_probe(request: Request, base: library.Installed, tell: Tell) -> library.Installed:
    """A model again, under another name, with a probe of its tokens."""
    manifest, shapes = base.manifest, parts.shapes_of(base.manifest.shapes)
    if request.preset or "action" in shapes:
        why = "--preset is of whole checkpoints" if request.preset else "a 2-AC model has no probe"
        raise SettingError(f"a probe of {manifest.name}: {why}")
    checkpoint = MetaProbe(request.path, request.key)
    probe = detect.probe(checkpoint, request.heads)
    detect.check(checkpoint, {"probe": probe})
    encoder = shapes["encoder"]
    if probe.width != encoder.width:
        raise ModelError(
            f"{request.path}: reads tokens of width {probe.width}, those of {manifest.name} have "
            f"{encoder.width}: it is a probe of another model"
        )
    library.verify(base, tell)
    name = library.checked_name(request.name or f"{manifest.name}-probe")
    said = {"path": os.path.abspath(request.path), "key": checkpoint.key,
            "sha256": _hashes(checkpoint, request.sha256, tell)}  # fmt: skip
    note = f"its probe has {probe.heads} heads and eps {probe.eps:g}: settings, in no tensor of it"
    notes = [*manifest.story.get("notes", ()), note]
    random = bool(detect.beside(checkpoint).get("random")) or manifest.random
    recipe = Recipe(
        name=name,
        version=manifest.version,
        shapes=shapes | {"probe": probe},
        source={**manifest.source, "probe": said},
        precisions=request.precisions,
        licence=request.licence or manifest.licence,
        random=random,
        story={**manifest.story, "notes": notes},
        ungated=request.ungated,
    )
    kept: Any = safe_open(base.path(library.WEIGHTS), "pt")

    def read(part: str, key: str) -> Tensor:
        if part == "probe":
            return checkpoint.get(part, key)
        tensor: Tensor = kept.get_tensor(f"{part}.{key}")
        return tensor

    with library.installing(request.root, name, request.replace) as directory:
        _room(directory, recipe.shapes, request.precisions)
        make(directory, recipe, read, tell)
    return library.find(request.root, name)


def make(directory: str, recipe: Recipe, read: Reader, tell: Tell) -> Manifest:
    """Write a model's files into an empty directory, the manifest last.

    ModelError: a tensor that is no number or is not finite, a precision that misses its gate.
    """
    if recipe.weights:
        _weights(os.path.join(directory, library.WEIGHTS), recipe.shapes, read, tell)
    sizes = _graphs(directory, recipe, read, tell)
    gate = {}
    for precision in recipe.precisions:
        model = measure.Measured(directory, precision, recipe.shapes, read)
        accuracy = measure.measured(model, functools.partial(tell, f"gate {precision}"))
        gate[precision] = accuracy.figures()
        missed = accuracy.missed()
        if missed and not recipe.ungated:
            raise ModelError(
                f"{recipe.name} in {precision} misses its accuracy gate: {missed}; "
                "import it with --precision fp32, or with --ungated to take it as it is"
            )
    manifest = _manifest(directory, recipe, sizes, gate, tell)
    library.write(directory, manifest)
    return manifest


def _hashes(checkpoint: Checkpoint, wanted: str | None, tell: Tell) -> str | dict[str, str]:
    """SHA-256 of the checkpoint: of its file, or of each of several. ModelError: not `wanted`."""
    total = sum(os.stat(path).st_size for path in checkpoint.files)
    found, before = {}, 0
    for path in checkpoint.files:
        onward = functools.partial(_onward, tell, before, total)
        found[os.path.basename(path)] = library.sha256(path, onward)
        before += os.stat(path).st_size
    if wanted is not None and wanted.lower() not in found.values():
        have = ", ".join(found.values())
        raise ModelError(
            f"{checkpoint.path}: SHA-256 is {have}, not {wanted.lower()}; "
            "the file is damaged or not the one meant: download it again"
        )
    return found if len(found) > 1 else next(iter(found.values()))


def _room(directory: str, shapes: Mapping[str, AnyShape], precisions: Sequence[str]) -> None:
    """ModelError: the disk has not enough of it, said before anything is written."""
    need = {"weights": footprint.resident(shapes, "fp32")}
    for precision in precisions:
        need |= footprint.graphs(shapes, precision)
    free = shutil.disk_usage(directory).free
    if sum(need.values()) > free:
        raise ModelError(
            f"{os.path.dirname(directory)}: the model needs {sum(need.values()) / 1e9:.2f} GB on "
            f"disk, {free / 1e9:.2f} GB are free; nothing imported"
        )


def _onward(tell: Tell, before: int, total: int, done: int) -> None:
    tell("hash", before + done, total)


def _weights(path: str, shapes: Mapping[str, AnyShape], read: Reader, tell: Tell) -> None:
    """All tensors as `<part>.<Meta's name>`, in the checkpoint's own precision."""
    names = [(part, key, size) for part, s in shapes.items() for key, size in
             parts.expected(s).items()]  # fmt: skip
    entries = {f"{part}.{key}": Entry(_dtype(read(part, key), part, key), size)
               for part, key, size in names}  # fmt: skip
    total, done = sum(entry.size for entry in entries.values()), 0
    with TensorFile(path, entries, {"format": "pt"}) as file:
        for part, key, _ in names:
            name = f"{part}.{key}"
            file.add(name, finite(read(part, key).to(entries[name].dtype), name))
            done += entries[name].size
            tell("weights", done, total)


def _dtype(tensor: Tensor, part: str, key: str) -> torch.dtype:
    if not tensor.is_floating_point():
        raise ModelError(f"{part}'s {key} is {tensor.dtype}, no weights; nothing imported")
    return tensor.dtype if tensor.dtype in _KEPT else torch.float32


def finite(tensor: Tensor, name: str) -> Tensor:
    """The same tensor. ModelError: a NaN or an infinity in it."""
    if not bool(torch.isfinite(tensor).all()):
        bad = int((~torch.isfinite(tensor)).sum())
        raise ModelError(
            f"{name}: {bad} of {tensor.numel()} weights are NaN or infinite; nothing imported"
        )
    return tensor


def _graphs(directory: str, recipe: Recipe, read: Reader, tell: Tell) -> dict[str, int]:
    """Graph name to the bytes of its weights."""
    jobs: list[tuple[str, str]] = [("encoder", precision) for precision in recipe.precisions]
    jobs += [(part, "fp32") for part in library.PARTS[1:] if part in recipe.shapes]
    out = {}
    for i, (part, precision) in enumerate(jobs):
        tell("graphs", i, len(jobs))
        name = library.graph_name(part, precision)
        path = os.path.join(directory, name)
        out[name] = _graph(path, part, recipe.shapes, arrays(read, part), precision == "int8")
    tell("graphs", len(jobs), len(jobs))
    return out


def _graph(
    path: str, part: str, shapes: Mapping[str, AnyShape], read: export.Read, int8: bool
) -> int:
    shape = shapes[part]
    if isinstance(shape, EncoderShape):
        predictor = shapes.get("predictor")
        levels = isinstance(predictor, PredictorShape) and predictor.levels > 1
        return export.encoder(path, shape, read, int8, levels)
    if isinstance(shape, PredictorShape):
        return export.predictor(path, shape, read)
    if isinstance(shape, ActionShape):
        return export.action(path, shape, read)
    return export.probe(path, shape, read)


def arrays(read: Reader, part: str) -> export.Read:
    """A part's reader as float32 numpy; no copy where it is float32 already."""

    def one(key: str) -> NDArray[np.float32]:
        out: NDArray[np.float32] = read(part, key).detach().to(torch.float32).numpy()
        return out

    return one


def _manifest(
    directory: str,
    recipe: Recipe,
    sizes: Mapping[str, int],
    gate: Mapping[str, Mapping[str, Any]],
    tell: Tell,
) -> Manifest:
    names: Sequence[str] = sorted(os.listdir(directory))
    files = {}
    for i, name in enumerate(names):
        tell("digests", i, len(names))
        path = os.path.join(directory, name)
        os.chmod(path, 0o644)
        files[name] = library.sha256(path)
    tell("digests", len(names), len(names))
    others = sum(size for name, size in sizes.items() if not name.startswith("encoder."))
    return Manifest(
        name=recipe.name,
        version=recipe.version,
        shapes={part: to_json(shape) for part, shape in recipe.shapes.items()},
        source=recipe.source,
        files=files,
        precisions=recipe.precisions,
        resident_bytes={p: sizes[library.graph_name("encoder", p)] + others
                        for p in recipe.precisions},
        graph_bytes=dict(sizes),
        licence=recipe.licence,
        gate=gate,
        random=recipe.random,
        story=recipe.story,
    )  # fmt: skip
