"""Checkpoints of random weights in each published format: `python -m jepad.learn.video.fakes`.

Owns: what the files look like outside and inside. Does not know: how they are read back.

For tests and measurements where no weights can be had. The description beside each file says that
its weights are random, and an import records it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from jepad.errors import JepadError, SettingError
from jepad.jepa.video.shape import PRESETS, AnyShape, EncoderShape, Preset, ProbeShape, to_json
from jepad.learn.video import keys, parts
from jepad.learn.video.checkpoint import CONFIG, SINGLE
from jepad.learn.video.detect import BESIDE
from jepad.learn.video.tensors import Entry, TensorFile
from jepad.vision.grid import Grid

FORMATS = ("meta", "meta-probe", "hf", "hf-classifier")
_CLASSES = 174  # of Something-Something v2


def shapes(preset: str, tiny: bool, probe: bool = False) -> dict[str, AnyShape]:
    """Part to its shape: of a published model, or of one with all its kinds of tensors but small.

    SettingError: no such preset.
    """
    if preset not in PRESETS:
        raise SettingError(f"no preset {preset!r}. Presets: {', '.join(PRESETS)}")
    found = _small(PRESETS[preset]) if tiny else PRESETS[preset]
    out: dict[str, AnyShape] = {"encoder": found.encoder}
    if found.predictor is not None:
        out["predictor"] = found.predictor
    if found.action is not None:
        out["action"] = found.action
    if probe:
        width, heads = found.encoder.width, 2 if tiny else 16
        classes = 5 if tiny else _CLASSES
        out["probe"] = ProbeShape(
            width=width, heads=heads, depth=4, classes=classes, hidden=4 * width
        )
    return out


def _small(preset: Preset) -> Preset:
    """Two heads of 32, a depth of two (2.1: four, each read out)."""
    big = preset.encoder
    depth, levels = (4, (0, 1, 2, 3)) if big.levels else (2, ())
    encoder = replace(
        big, width=64, depth=depth, heads=2, hidden=256, size=64, frames=8, levels=levels
    )
    grid = Grid(4, 4, 4)
    predictor, action = preset.predictor, preset.action
    if predictor is not None:
        output = 96 if predictor.output == 1664 != big.width else 64 * predictor.levels
        predictor = replace(
            predictor, width=48, depth=2, heads=2, hidden=192, source=64, output=output, grid=grid
        )
    if action is not None:
        action = replace(action, width=48, depth=2, heads=2, hidden=192, source=64, grid=grid)
    return Preset(encoder, predictor, action)


def tensors(shape: AnyShape, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Random weights of a part under Meta's names, one by one; no two tensors alike, and strong
    enough that attention looks somewhere."""
    draws = torch.Generator().manual_seed(seed)
    for name, size in parts.expected(shape).items():
        made = torch.randn(size, generator=draws)
        inputs = torch.Size(size[1:]).numel()
        made *= inputs**-0.5 if name.endswith("weight") and len(size) > 1 else 0.05
        if "norm" in name and name.endswith("weight"):
            made = made + 1
        yield name, made


def meta(path: str, table: Mapping[str, AnyShape], seed: int = 0) -> None:
    """Meta's pickle: state dicts with its training's prefixes beside the training's own state."""
    encoder = table["encoder"]
    assert isinstance(encoder, EncoderShape)
    acting = "action" in table
    prefix = "module." if acting else "module.backbone."
    state = {part: {prefix + key: tensor for key, tensor in tensors(shape, seed + i)}
             for i, (part, shape) in enumerate(table.items())}  # fmt: skip
    whole: dict[str, Any] = {_entry(encoder, acting): state["encoder"]}
    if encoder.version == "2.0" and not acting:
        whole["target_encoder"] = state["encoder"]
    if len(table) > 1:
        whole["predictor"] = state["action" if acting else "predictor"]
    moments = {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4), "exp_avg_sq": torch.ones(4)}
    whole |= {
        "opt": {"state": {0: moments}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 0},
        "epoch": 1,
        "loss": 0.5,
        "batch_size": 24,
        "world_size": 16,
        "lr": 1e-4,
    }
    torch.save(whole, path)
    published = any(encoder.width == preset.encoder.width for preset in PRESETS.values())
    _describe(path, {} if published else table)


def meta_probe(path: str, shape: AnyShape, seed: int = 0, count: int = 1) -> None:
    """Meta's pickle of probes that were trained side by side."""
    trained = [{f"module.{key}": tensor for key, tensor in tensors(shape, seed + i)}
               for i in range(count)]  # fmt: skip
    state = {"opt": [{}] * count, "scaler": [None] * count, "epoch": 1, "batch_size": 4,
             "world_size": 8}  # fmt: skip
    torch.save({"classifiers": trained, **state}, path)
    _describe(path, {})


def _entry(encoder: EncoderShape, acting: bool) -> str:
    if encoder.version == "2.0" or acting:
        return "encoder"
    return "target_encoder" if encoder.width in (1408, 1664) else "ema_encoder"


def hugging_face(path: str, table: Mapping[str, AnyShape], seed: int = 0) -> None:
    """A directory with model.safetensors and config.json; with a probe, the classifier's form.

    SettingError: 2.1 and 2-AC have no such form.
    """
    encoder = table["encoder"]
    assert isinstance(encoder, EncoderShape)
    if encoder.version != "2.0" or "action" in table:
        raise SettingError("Hugging Face's format has neither 2.1 nor 2-AC; use --format meta")
    os.makedirs(path, exist_ok=True)
    wrapper = "vjepa2." if "probe" in table else ""
    written = os.path.join(path, SINGLE)
    source = {part: dict(tensors(shape, seed + i))
              for i, (part, shape) in enumerate(table.items())}  # fmt: skip
    named = dict(_translated(source, wrapper))
    entries = {name: Entry(t.dtype, tuple(t.shape)) for name, t in named.items()}
    with TensorFile(written, entries, {"format": "pt"}) as file:
        for name, tensor in named.items():
            file.add(name, tensor)
    _describe(written, {})
    with open(os.path.join(path, CONFIG), "w", encoding="utf-8") as f:
        json.dump(_config(table), f, indent=1)


def _translated(
    source: Mapping[str, Mapping[str, Tensor]], wrapper: str
) -> Iterator[tuple[str, Tensor]]:
    for part, state in source.items():
        outer = "" if part == "probe" else wrapper
        stacked = [t for key, t in state.items() if key.startswith("mask_tokens.")]
        for key, tensor in state.items():
            pieces = keys.pieces(part, key)
            if pieces[0].row == 0:
                yield outer + pieces[0].key, torch.stack(stacked)
            elif pieces[0].row is None:
                for piece, chunk in zip(pieces, tensor.chunk(len(pieces)), strict=True):
                    yield outer + piece.key, chunk


def _config(table: Mapping[str, AnyShape]) -> dict[str, object]:
    encoder, predictor = table["encoder"], table.get("predictor")
    assert isinstance(encoder, EncoderShape)
    out: dict[str, object] = {
        "model_type": "vjepa2",
        "patch_size": encoder.patch,
        "crop_size": encoder.size,
        "frames_per_clip": encoder.frames,
        "tubelet_size": encoder.tubelet,
        "hidden_size": encoder.width,
        "num_attention_heads": encoder.heads,
        "num_hidden_layers": encoder.depth,
        "mlp_ratio": encoder.hidden / encoder.width,
    }
    if predictor is not None:
        described = to_json(predictor)
        out |= {
            "pred_hidden_size": described["width"],
            "pred_num_attention_heads": described["heads"],
            "pred_num_hidden_layers": described["depth"],
            "pred_num_mask_tokens": described["mask_tokens"],
            "pred_mlp_ratio": described["hidden"] / described["width"],
        }
    return out


def _describe(path: str, table: Mapping[str, AnyShape]) -> None:
    """That it is random; and its shapes, where no published size and no config tells them."""
    about: dict[str, object] = {"random": True}
    if table:
        about["shapes"] = {part: to_json(shape) for part, shape in table.items()}
    with open(path + BESIDE, "w", encoding="utf-8") as f:
        json.dump(about, f, indent=1)


def main(argv: list[str] | None = None) -> int:
    """The command; 2 for a preset or format that is none."""
    parser = argparse.ArgumentParser(prog="python -m jepad.learn.video.fakes", description=__doc__)
    parser.add_argument("--preset", default="vitl-256", help=", ".join(PRESETS))
    parser.add_argument("--format", choices=FORMATS, default="meta")
    parser.add_argument("--out", required=True, help="a file (meta) or directory (hf) to write")
    parser.add_argument("--tiny", action="store_true", help="the same kinds of tensors, small")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        table = shapes(args.preset, args.tiny, args.format in ("meta-probe", "hf-classifier"))
        if args.format == "meta-probe":
            meta_probe(args.out, table["probe"], args.seed)
            return 0
        (meta if args.format == "meta" else hugging_face)(args.out, table, args.seed)
    except JepadError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
