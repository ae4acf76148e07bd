"""Which model a checkpoint holds: told by its tensors, checked against all that it must have.

Owns: matching published sizes, reading Hugging Face's config and a description beside the file.
Does not know: how tensors are read or written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jepad.errors import ModelError, SettingError
from jepad.jepa.video.shape import (
    PRESETS,
    ActionShape,
    AnyShape,
    EncoderShape,
    PredictorShape,
    ProbeShape,
    from_json,
)
from jepad.learn.video import parts
from jepad.learn.video.checkpoint import Checkpoint, config_beside, read_json

PROBE_HEADS = 16  # of every published probe
#: Beside a checkpoint of other than the published sizes: {"shapes": {part: shape}, "random": bool}.
BESIDE = ".json"


@dataclass(frozen=True, slots=True)
class Detected:
    """What a checkpoint is."""

    name: str
    version: str
    shapes: Mapping[str, AnyShape]
    random: bool | None = None
    notes: tuple[str, ...] = field(default=())  # what was assumed


def detect(checkpoint: Checkpoint, preset: str | None = None) -> Detected:
    """By `preset`, else by a description beside the file, else by size.

    SettingError: no such preset. ModelError: a size nobody published and nobody described, or a
    part that is not of the size that the others say.
    """
    about = beside(checkpoint)
    random = about.get("random")
    if preset is not None:
        found = Detected(preset, "", _preset(preset), random)
    elif "shapes" in about:
        table = {part: from_json(data) for part, data in about["shapes"].items()}
        found = Detected(_file_name(checkpoint.path), "", table, random)
    else:
        found = replace(_by_size(checkpoint), random=random)
    table = {part: shape for part, shape in found.shapes.items() if part in checkpoint.parts()}
    if "probe" in checkpoint.parts() and "probe" not in table:
        table["probe"] = _probe(checkpoint)
    missing = [part for part in checkpoint.parts() if part not in table]
    if missing:
        raise ModelError(
            f"{checkpoint.path}: holds a {missing[0]}, which {found.name} does not have; "
            "name what it is with --preset"
        )
    check(checkpoint, table)
    return replace(found, version=_version(table), shapes=table)


def check(checkpoint: Checkpoint, table: Mapping[str, AnyShape]) -> None:
    """Every tensor of every part is there, of the right size, and none is left unread."""
    used = {}
    for part, shape in table.items():
        used[part] = list(wanted := parts.expected(shape))
        for key, size in wanted.items():
            found = checkpoint.shape(part, key)
            if found != size:
                raise ModelError(
                    f"{checkpoint.path}: {part}'s {key} is {_times(found)}, "
                    f"the model wants {_times(size)}; nothing imported"
                )
    unread = checkpoint.unread(used)
    if unread:
        more = f" and {len(unread) - 3} more" if len(unread) > 3 else ""
        raise ModelError(
            f"{checkpoint.path}: tensors that no part of the model reads: "
            f"{', '.join(unread[:3])}{more}; nothing imported"
        )


def _preset(name: str) -> dict[str, AnyShape]:
    if name not in PRESETS:
        raise SettingError(f"no preset {name!r}. Presets: {', '.join(PRESETS)}")
    found = PRESETS[name]
    out: dict[str, AnyShape] = {"encoder": found.encoder}
    if found.predictor:
        out["predictor"] = found.predictor
    if found.action:
        out["action"] = found.action
    return out


def _by_size(checkpoint: Checkpoint) -> Detected:
    if "encoder" not in checkpoint.parts():
        raise ModelError(f"{checkpoint.path}: has no encoder; it is no whole V-JEPA 2")
    config = config_beside(checkpoint)
    size = _facts(checkpoint)
    acting = "action" in checkpoint.parts()
    names = [
        name
        for name, preset in PRESETS.items()
        if bool(preset.action) == acting
        and size == (preset.encoder.version, preset.encoder.width, preset.encoder.depth)
    ]
    pixels = config.get("crop_size")
    if pixels and len(names) > 1:
        names = [n for n in names if PRESETS[n].encoder.size == pixels] or names
    if not names:
        return _described(checkpoint, config, size)
    found = _one_of(names, checkpoint.path)
    frames = config.get("frames_per_clip")
    if isinstance(frames, int) and frames > 0:  # the classifiers' clips are shorter
        encoder = replace(PRESETS[found.name].encoder, frames=frames)
        return replace(found, shapes={**found.shapes, "encoder": encoder})
    return found


def _one_of(names: list[str], path: str) -> Detected:
    """The same tensors at two resolutions: the file's name says which, or the smaller is taken."""
    told = [n for n in names if str(PRESETS[n].encoder.size) in os.path.basename(path)]
    name = (told or names)[0]
    notes: tuple[str, ...] = ()
    if len(names) > 1 and not told:
        rest = ", ".join(n for n in names if n != name)
        notes = (f"taken for {name}; the tensors of {rest} are the same size: --preset says which",)
    return Detected(name, "", _preset(name), notes=notes)


def _facts(checkpoint: Checkpoint) -> tuple[str, int, int]:
    """Version, width and depth of the encoder."""
    version = "2.1" if checkpoint.has("encoder", "patch_embed_img.proj.weight") else "2.0"
    width = checkpoint.shape("encoder", "patch_embed.proj.weight")[0]
    return version, width, _count(checkpoint, "encoder", "blocks.{}.norm1.weight")


def _count(checkpoint: Checkpoint, part: str, name: str) -> int:
    n = 0
    while checkpoint.has(part, name.format(n)):
        n += 1
    return n


def _described(
    checkpoint: Checkpoint, config: Mapping[str, Any], size: tuple[str, int, int]
) -> Detected:
    """A model of other sizes: heads are in no tensor, so something must say them."""
    if not config:
        raise ModelError(
            f"{checkpoint.path}: an encoder of version {size[0]}, width {size[1]}, depth {size[2]} "
            f"is none of {', '.join(PRESETS)}, and its heads are in no tensor; describe it in "
            f"{checkpoint.files[0]}{BESIDE}"
        )
    try:
        table = _of_config(config)
    except (KeyError, TypeError, ValueError, SettingError) as e:
        raise ModelError(f"{checkpoint.path}: its config.json describes no V-JEPA 2 ({e})") from e
    return Detected(_file_name(checkpoint.path), "", table)


def _of_config(config: Mapping[str, Any]) -> dict[str, AnyShape]:
    width = int(config["hidden_size"])
    encoder = EncoderShape(
        width=width,
        depth=int(config["num_hidden_layers"]),
        heads=int(config["num_attention_heads"]),
        hidden=round(width * config.get("mlp_ratio", 4)),
        layout="tiled",
        patch=int(config.get("patch_size", 16)),
        tubelet=int(config.get("tubelet_size", 2)),
        size=int(config.get("crop_size", 256)),
        frames=int(config.get("frames_per_clip", 64)),
    )
    narrow = int(config.get("pred_hidden_size", 384))
    predictor = PredictorShape(
        width=narrow,
        depth=int(config.get("pred_num_hidden_layers", 12)),
        heads=int(config.get("pred_num_attention_heads", 12)),
        hidden=round(narrow * config.get("pred_mlp_ratio", 4)),
        source=width,
        output=width,
        mask_tokens=int(config.get("pred_num_mask_tokens", 10)),
        grid=encoder.grid,
        layout="tiled",
    )
    return {"encoder": encoder, "predictor": predictor}


def _probe(checkpoint: Checkpoint) -> ProbeShape:
    """Of Hugging Face's classifiers. Their own code runs it with the encoder's heads and eps 1e-6;
    the published weights were trained with 16 and 1e-5, which is what is taken."""
    width = checkpoint.shape("probe", "linear.weight")[1]
    config = config_beside(checkpoint)
    published = any(width == p.encoder.width for p in PRESETS.values())
    heads = PROBE_HEADS if published else int(config.get("num_attention_heads", PROBE_HEADS))
    return probe(checkpoint, heads)


def probe(checkpoint: Checkpoint, heads: int) -> ProbeShape:
    """The rest is in its tensors. ModelError: it isn't; SettingError: heads that can't be."""
    wide = "pooler.cross_attention_block.mlp.fc1.weight"
    for key in ("linear.weight", wide):
        if len(checkpoint.shape("probe", key)) != 2:
            raise ModelError(f"{checkpoint.path}: probe's {key} is no matrix; nothing imported")
    return ProbeShape(
        width=checkpoint.shape("probe", "linear.weight")[1],
        heads=heads,
        depth=_count(checkpoint, "probe", "pooler.blocks.{}.norm1.weight") + 1,
        classes=checkpoint.shape("probe", "linear.weight")[0],
        hidden=checkpoint.shape("probe", wide)[0],
    )


def beside(checkpoint: Checkpoint) -> dict[str, Any]:
    """The description next to the file; empty where there is none."""
    path = checkpoint.files[0] + BESIDE
    about = read_json(path) if os.path.exists(path) else {}
    if not isinstance(about.get("shapes", {}), dict):
        raise ModelError(f"{path}: `shapes` is no object of parts")
    return about


def _version(table: Mapping[str, AnyShape]) -> str:
    if isinstance(table.get("action"), ActionShape):
        return "2-ac"
    encoder = table.get("encoder")
    assert isinstance(encoder, EncoderShape)
    return encoder.version


def _file_name(path: str) -> str:
    """A model's name from its file's."""
    path = os.path.abspath(path)
    stem = re.sub(r"\.(pt|pth|tar|bin|safetensors)$", "", os.path.basename(path))
    if stem == "model":
        stem = os.path.basename(os.path.dirname(path))
    return re.sub(r"[^A-Za-z0-9._-]", "-", stem).lstrip("._-")[:64] or "model"


def _times(size: tuple[int, ...]) -> str:
    return " × ".join(map(str, size)) or "a single number"
