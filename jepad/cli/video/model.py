"""`jepactl model`: which models are here, what they are, whether they are whole; and imports one.

Owns: the look of cards, lists and results. Does not know how a model works.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from jepad.cli import output
from jepad.cli.progress import Bar
from jepad.cli.video import shelf
from jepad.errors import ModelError, NotFound, SettingError
from jepad.models import footprint, library, store

MACHINE = "machine"
STAGES = {
    "open": "opening",
    "hash": "hashing",
    "weights": "copying weights",
    "graphs": "writing graphs",
    "gate int8": "measuring int8",
    "gate fp32": "measuring fp32",
    "digests": "hashing what was written",
}
_OF_SHAPES = "not installed; of a published model's shapes"


def run(options: Namespace) -> int:
    """The verb; without an action, the machine's model."""
    actions: Mapping[str | None, Callable[[Namespace], int]] = {
        None: _machine,
        "list": _list,
        "show": _show,
        "import": _import,
        "verify": _verify,
        "remove": _remove,
    }
    if options.action in actions:
        return actions[options.action](options)
    if not options.action.endswith(".json") and "/" not in options.action:
        raise SettingError(
            f"no action {options.action!r}: list, show, import, verify or remove; or a card's .json"
        )
    return _card(options, options.action)


def _machine(options: Namespace) -> int:
    return _card(options, None)


def _card(options: Namespace, path: str | None) -> int:
    """Of the model of the machine."""
    files = store.load(path)
    card = _fields(files.card)
    if options.json:
        output.say_json({"digest": files.digest, "path": str(files.onnx_path), "card": card})
        return 0
    rows = [("digest", f"{files.digest} (checked)"), ("file", str(files.onnx_path))]
    rows += [(key, _short(value)) for key, value in card.items()]
    _say_rows(rows)
    return 0


def _list(options: Namespace) -> int:
    models, broken = shelf.everything(options.bus)
    if options.json:
        output.say_json({"models": [_told(model) for model in models], "broken": broken})
        return 0
    if models:
        head = ("NAME", "VERSION", "PRECISION", "MEMORY", "DIGEST", "WEIGHTS")
        for line in output.table([head, *(_row(m) for m in models)], left=3):
            output.say(line)
    else:
        output.note("no video model is installed; next: jepactl model import CHECKPOINT")
    for name, why in broken.items():
        output.note(f"{name}: {why}")
    return 0


def _row(model: library.Installed) -> tuple[str, ...]:
    manifest = model.manifest
    most = " ".join(size_words(manifest.resident_bytes[p]) for p in manifest.precisions)
    return (manifest.name, manifest.version, " ".join(manifest.precisions), most,
            manifest.digest[:12], _trained(manifest))  # fmt: skip


def _show(options: Namespace) -> int:
    if options.subject in (None, MACHINE):
        return _card(options, None)
    model = shelf.known(options.bus, options.subject)
    if model is None:
        return _show_preset(options)
    if options.json:
        output.say_json(_told(model))
        return 0
    manifest = model.manifest
    rows = [
        ("name", manifest.name),
        ("version", f"V-JEPA {manifest.version.upper()}"),
        ("digest", f"{manifest.digest} (not checked: jepactl model verify {manifest.name})"),
        ("directory", model.directory),
        ("weights", _trained(manifest)),
        ("licence", f"{manifest.licence} (weights)"),
        ("source", _short(dict(manifest.source))),
    ]
    rows += [("memory", _memory(p, n)) for p, n in manifest.resident_bytes.items()]
    rows += [(f"  {name}", size_words(n)) for name, n in manifest.graph_bytes.items()]
    rows += [("accuracy", _accuracy(p, gate)) for p, gate in manifest.gate.items()]
    rows += [(part, _short(dict(shape))) for part, shape in manifest.shapes.items()]
    rows += [(key, _short(value)) for key, value in manifest.story.items() if value]
    _say_rows(rows)
    return 0


def _show_preset(options: Namespace) -> int:
    """A published model that is not here: what it would take."""
    from jepad.jepa.video.shape import PRESETS, to_json

    if options.subject not in PRESETS:
        shelf.find(options.bus, options.subject)  # says what there is
    shapes = footprint.of_preset(PRESETS[options.subject])
    precisions = ("int8", "fp32")
    memory = {p: footprint.resident(shapes, p) for p in precisions}
    if options.json:
        output.say_json({
            "name": options.subject, "installed": False, "resident_bytes": memory,
            "graph_bytes": dict(i for p in precisions for i in footprint.graphs(shapes, p).items()),
            "shapes": {part: to_json(shape) for part, shape in shapes.items()},
        })  # fmt: skip
        return 0
    rows = [("name", f"{options.subject} ({_OF_SHAPES})")]
    for precision in precisions:
        rows.append(("memory", _memory(precision, memory[precision])))
        rows += [(f"  {n}", size_words(b)) for n, b in footprint.graphs(shapes, precision).items()]
    rows += [(part, _short(to_json(shape))) for part, shape in shapes.items()]
    _say_rows(rows)
    return 0


def _import(options: Namespace) -> int:
    from jepad.cli.video import importer

    if options.subject is None:
        raise SettingError("which checkpoint? jepactl model import PATH")
    words = [options.subject, "--root", shelf.target(options.bus)]
    if options.probe_of is not None:
        whole = shelf.find(options.bus, options.probe_of)
        words += [f"--probe-of={whole.directory}"]
        options.precision = options.precision or ",".join(whole.manifest.precisions)
    words += ["--precision", options.precision or "int8"]
    for name in ("name", "preset", "licence", "key", "sha256", "heads"):
        if getattr(options, name) is not None:
            words += [f"--{name}={getattr(options, name)}"]
    words += [f"--{name}" for name in ("force", "ungated") if getattr(options, name)]
    started = time.monotonic()
    with Bar() as bar:
        done = importer.run(words, _drawn(bar))
    model = library.read(str(done["directory"]))
    if options.json:
        output.say_json(_told(model))
        return 0
    manifest = model.manifest
    _say_rows([
        ("name", manifest.name),
        ("version", f"V-JEPA {manifest.version.upper()}"),
        ("directory", model.directory),
        ("digest", manifest.digest),
        ("weights", _trained(manifest)),
        ("licence", f"{manifest.licence} (weights)"),
        *(("memory", _memory(p, n)) for p, n in manifest.resident_bytes.items()),
        *(("accuracy", _accuracy(p, gate)) for p, gate in manifest.gate.items()),
    ])  # fmt: skip
    for note in manifest.story.get("notes", ()):
        output.note(f"note: {note}")
    output.note(f"imported in {time.monotonic() - started:.0f} s")
    return 0


def _verify(options: Namespace) -> int:
    """All, or one; what is damaged is named, the others are still checked."""
    models, broken = (
        shelf.everything(options.bus)
        if options.subject is None
        else ([shelf.find(options.bus, options.subject)], {})
    )
    results = {name: str(why) for name, why in broken.items()}
    with Bar() as bar:
        for model in models:
            results[model.manifest.name] = _damage(model, _drawn(bar, model.manifest.name))
    if options.json:
        output.say_json([{"name": n, "ok": not why, "why": why} for n, why in results.items()])
    else:
        for name, why in sorted(results.items()):
            output.say(f"{output.plain(name)}: {output.plain(why) or 'whole'}")
    return ModelError.exit_code if any(results.values()) else 0


def _drawn(bar: Bar, of: str = "") -> library.Progress:
    """Progress of a stage onto the bar."""
    return lambda stage, done, total: bar.show(done, total, f"{STAGES.get(stage, stage)} {of}")


def _damage(model: library.Installed, told: library.Progress) -> str:
    try:
        library.verify(model, told)
    except ModelError as error:
        return str(error)
    return ""


def _remove(options: Namespace) -> int:
    if options.subject is None:
        raise SettingError("which model? jepactl model remove NAME")
    for root in shelf.roots(options.bus):
        try:
            library.remove(root, options.subject)
        except NotFound:
            continue
        output.note(f"{options.subject} is removed from {root}")
        return 0
    if options.subject == library.TOY:
        raise SettingError("toy ships with jepad and can't be removed")
    raise NotFound(f"no model {options.subject!r} is installed; see: jepactl model list")


def size_words(count: int) -> str:
    """Bytes in words, decimal as on a disk's label."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def _memory(precision: str, count: int) -> str:
    return f"{size_words(count)} of weights resident in {precision}"


def _accuracy(precision: str, gate: Mapping[str, Any]) -> str:
    choices = gate.get("agreement")
    said = "" if choices is None else f", planner's choices {choices:.0%} the same"
    passed = "passed" if gate.get("passed") else "MISSED"
    return (
        f"{precision}: pooled cosine {gate.get('pooled', 0):.6f}, worst token "
        f"{gate.get('worst', 0):.6f}{said}; gate {passed}"
    )


def _trained(manifest: library.Manifest) -> str:
    """Random weights say so wherever the model is named."""
    return {True: "random", False: "trained", None: "as published"}[manifest.random]


def _told(model: library.Installed) -> dict[str, Any]:
    import msgspec

    out: dict[str, Any] = msgspec.to_builtins(model.manifest)
    return out | {"digest": model.manifest.digest, "directory": model.directory,
                  "installed": True}  # fmt: skip


def _say_rows(rows: list[tuple[str, str]]) -> None:
    for line in output.table(rows, left=2):
        output.say(line)


def _fields(card: Any) -> dict[str, Any]:
    import msgspec

    out: dict[str, Any] = msgspec.to_builtins(card)
    return out


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " ".join(_short(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
