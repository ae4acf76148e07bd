"""Golden cases of V-JEPA 2: parameters, inputs and every output of Meta's own code, on small
random models (tests/fixtures/vjepa/README.md says what is in a case).

Owns: the format, models built from a case, the comparison, the cases of kind "modules".
Does not know: the other kinds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from jepad.errors import NotFound, SettingError
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.predictor import Asked, MaskPredictor
from jepad.jepa.video.shape import (
    CHANNELS,
    LEVELS,
    ActionShape,
    AnyShape,
    EncoderShape,
    PredictorShape,
    ProbeShape,
)
from jepad.learn.video import parts
from jepad.vision.grid import Grid, Layout

#: The cases that `make test` runs.
FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "vjepa"
#: max|Δ| in float32 on a CPU. Rounding stays under 1.5e-5, a wrong eps moves more.
TOLERANCE = 5e-5
Arguments = Mapping[str, Any]
#: What our modules are, whatever a case says; one that says otherwise is of another model.
FIXED = {
    "qkv_bias": True, "use_rope": True, "use_silu": False, "use_mask_tokens": True,
    "is_frame_causal": True, "complete_block": True, "in_chans": CHANNELS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One array compared."""

    case: str
    array: str
    delta: float  # max|Δ|; infinite where shapes differ
    tolerance: float = TOLERANCE

    @property
    def ok(self) -> bool:
        """NaN is not."""
        return self.delta <= self.tolerance


@dataclass(frozen=True, slots=True)
class Case:
    """NAME.npz and NAME.json."""

    name: str
    about: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]

    @property
    def kind(self) -> str:
        """What must be run: modules, hf, ac, train20, ..."""
        return str(self.about["kind"])

    @property
    def config(self) -> dict[str, Any]:
        """Modules, calls, settings."""
        return dict(self.about["config"])

    @property
    def layout(self) -> Layout:
        """Of its rotary tables. SettingError: it doesn't say; the wrong one is another model."""
        layout = (self.about.get("rope") or {}).get("layout")
        if layout not in get_args(Layout):
            told = " or ".join(get_args(Layout))
            raise SettingError(f"case {self.name}: rope.layout is {layout!r}, not {told}")
        return cast(Layout, layout)

    def tensor(self, key: str) -> Tensor:
        """A copy of one array."""
        return torch.from_numpy(self.arrays[key].copy())

    def given(self, name: str) -> Tensor:
        """An input."""
        return self.tensor(f"in/{name}")

    def parameters(self, module: str) -> dict[str, Tensor]:
        """Its state dict, under Meta's names."""
        source = self.config["modules"].get(module, {}).get("params_from", module)
        prefix = f"param/{source}/"
        return {k.removeprefix(prefix): self.tensor(k) for k in self.arrays if k.startswith(prefix)}


def names(directory: Path) -> list[str]:
    """Cases there, those that lack one of their files too. NotFound: none."""
    found = sorted({p.stem for end in ("npz", "json") for p in directory.glob(f"*.{end}")})
    if not found:
        raise NotFound(f"no golden cases (NAME.npz beside NAME.json) in {directory}")
    return found


def load(directory: Path, name: str) -> Case:
    """A case. NotFound: no such files."""
    path = directory / f"{name}.npz"
    for one in (path, path.with_suffix(".json")):
        if not one.is_file():
            raise NotFound(f"no golden case {name} in {directory}: {one.name} is missing")
    about = json.loads(path.with_suffix(".json").read_text())
    with np.load(path) as archive:
        return Case(name, about, {key: archive[key] for key in archive.files})


def difference(found: Tensor | npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    """max|Δ|."""
    values = found.detach().double().numpy() if isinstance(found, Tensor) else np.asarray(found)
    if values.shape != wanted.shape:
        return float("inf")
    return float(np.abs(values.astype(np.float64) - wanted).max(initial=0.0))


def compare(
    case: Case, array: str, found: Tensor | npt.NDArray[Any], tolerance: float = TOLERANCE
) -> Row:
    """What was computed beside `out/...` or `mid/...` of the case."""
    return Row(case.name, array, difference(found, case.arrays[array]), tolerance)


def shape(case: Case, module: str) -> AnyShape:
    """Of a module of the case. SettingError: no module of ours computes what it says."""
    args = case.config["modules"][module]["args"]
    for option, ours in FIXED.items():
        if args.get(option, ours) != ours:
            raise SettingError(f"{case.name}: {module} has {option} {args[option]}, ours is {ours}")
    found = _shape(case, module)
    if (eps := args.get("norm_eps", found.block.eps)) != found.block.eps:
        raise SettingError(f"{case.name}: {module} has norm_eps {eps}, ours is {found.block.eps}")
    return found


def _shape(case: Case, module: str) -> AnyShape:
    spec = case.config["modules"][module]
    args = spec["args"]
    kind = spec["cls"].split(".")[-1]
    if kind == "probe":
        return _probe(args)
    sizes = _sizes(args, "predictor_embed_dim" if kind == "predictor" else "embed_dim")
    if spec["cls"] == "v2ac.predictor":
        return ActionShape(
            **sizes,
            layout=case.layout,
            source=args["embed_dim"],
            grid=_grid(args),
            actions=args["action_embed_dim"],
            states=args["action_embed_dim"],
            extrinsics=args["use_extrinsics"],
        )
    later = spec["cls"].startswith("v21")
    if kind == "encoder":
        return _encoder(args, EncoderShape(**sizes, layout=case.layout), later)
    return _predictor(case, args, later)


def build(case: Case, module: str) -> nn.Module:
    """A module of the case with its parameters, loaded strictly: float32, for evaluation.

    A spec that says `strict: false` shares the parameters of a larger module: it may leave some
    unused, and none of its own may be missing.
    """
    model = parts.module(shape(case, module))
    parameters = case.parameters(module)
    if case.config["modules"][module].get("strict", True) is False:
        own = model.state_dict()
        parameters = {key: value for key, value in parameters.items() if key in own}
    model.load_state_dict(parameters, assign=True)
    return model.eval()


@contextmanager
def hooks(model: nn.Module, submodules: list[str]) -> Iterator[dict[str, Tensor]]:
    """Outputs of submodules, by name, filled while the model runs inside."""
    seen: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        def keep(_module: nn.Module, _args: object, output: Tensor) -> None:
            seen[name] = output.detach().clone()

        return keep

    held = [model.get_submodule(name).register_forward_hook(note(name)) for name in submodules]
    try:
        yield seen
    finally:
        for hook in held:
            hook.remove()


def run(case: Case, models: Mapping[str, nn.Module] | None = None) -> Iterator[Row]:
    """Every array of a case of kind "modules". `models`: instead of those the case would build."""
    built = dict(models or {})
    for call in case.config["calls"]:
        module = call["module"]
        if module not in built:
            built[module] = build(case, module)
        yield from _called(case, call, built[module])


def _called(case: Case, call: Arguments, model: nn.Module) -> Iterator[Row]:
    args = arguments(case, call)
    with torch.inference_mode(), hooks(model, call.get("mids", [])) as seen:
        out = _outputs(case.config["modules"][call["module"]]["args"], call, model, args)
    order = _order(args)
    for name, value in seen.items():
        yield compare(case, f"mid/{call['name']}/{name}", _placed(value, order))
    for key, value in out.items():
        yield compare(case, f"out/{call['name']}{key}", value)


def arguments(case: Case, call: Arguments) -> dict[str, Any]:
    """Of a call, inputs in place of their names. An encoder's masks are a list, a predictor's one
    tensor each; Meta's code takes either."""
    args = {name: _argument(case, value) for name, value in call["args"].items()}
    if isinstance(masks := args.get("masks"), Tensor):
        args["masks"] = [masks]
    for name in ("masks_x", "masks_y"):
        if isinstance(args.get(name), list):
            (args[name],) = args[name]
    return args


def _argument(case: Case, value: Any) -> Any:
    if isinstance(value, list):
        return [_argument(case, item) for item in value]
    return case.given(value[1:]) if isinstance(value, str) and value.startswith("@") else value


def _order(args: Arguments) -> Tensor | None:
    """Meta's predictor sorts its tokens by place before the blocks; ours has no need to."""
    if "masks_y" not in args:
        return None
    return torch.cat([args["masks_x"], args["masks_y"]], 1).argsort(1)


def _placed(x: Tensor, order: Tensor | None) -> Tensor:
    if order is None or order.shape[1] != x.shape[1]:
        return x
    return x.gather(1, order[..., None].expand_as(x))


def _outputs(
    spec: Arguments, call: Arguments, model: nn.Module, args: Arguments
) -> dict[str, Tensor]:
    """What a call gives, by the end of its key in the case."""
    if isinstance(model, VideoEncoder):
        return _encoded(spec, {**args, **call.get("set", {})}, model)
    if isinstance(model, MaskPredictor):
        return _predicted(spec, args, model)
    return {"": model(args["x"])}


def _encoded(spec: Arguments, args: Arguments, model: VideoEncoder) -> dict[str, Tensor]:
    video, masks = args["x"], args.get("masks")
    if layers := args.get("out_layers"):
        return {f"/{i}": x for i, x in enumerate(model.levels(video, masks, layers))}
    if args.get("training") or args.get("return_hierarchical"):
        levels = model.shape.levels[-spec.get("n_output_distillation", 4) :]
        return {"": torch.cat(model.levels(video, masks, levels), 2)}
    return {"": model.encode(video, masks)}


def _predicted(spec: Arguments, args: Arguments, model: MaskPredictor) -> dict[str, Tensor]:
    asked = Asked(args["masks_x"], args["masks_y"])
    options = {"mask_index": args["mask_index"]} if "mask_index" in args else {}
    if "mod" not in args:
        if spec.get("return_all_tokens"):
            return {"": model.predict_all(args["x"], asked, **options)}
        return {"": model.predict(args["x"], asked, **options).targets}
    out = model.predict(args["x"], asked, image=args["mod"] == "image", **options)
    return {"/0": out.targets} | ({} if out.context is None else {"/1": out.context})


def _sizes(args: Arguments, width: str) -> dict[str, Any]:
    return {
        "width": args[width],
        "depth": args["depth"],
        "heads": args["num_heads"],
        "hidden": int(args[width] * args["mlp_ratio"]),
    }


def _grid(args: Arguments) -> Grid:
    rows, columns = (size // args["patch_size"] for size in _pixels(args))
    return Grid(args["num_frames"] // args["tubelet_size"], rows, columns)


def _pixels(args: Arguments) -> tuple[int, int]:
    """Rows and columns of a frame; one number is both."""
    size = args["img_size"]
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _encoder(args: Arguments, base: EncoderShape, later: bool) -> EncoderShape:
    base = replace(
        base,
        patch=args["patch_size"],
        tubelet=args["tubelet_size"],
        size=_pixels(args)[0],
        frames=args["num_frames"],
    )
    return replace(base, **_later(args)) if later else base


def _later(args: Arguments) -> dict[str, Any]:
    return {
        "version": "2.1",
        "rescale": args.get("interpolate_rope", False),
        "image": args.get("img_temporal_dim_size") == 1,
        "modality": args.get("modality_embedding", True),
        "levels": LEVELS[args["depth"]],
    }


def _predictor(case: Case, args: Arguments, later: bool) -> PredictorShape:
    base = PredictorShape(
        **_sizes(args, "predictor_embed_dim"),
        source=args["embed_dim"],
        output=args.get("out_embed_dim") or args["embed_dim"],
        mask_tokens=args["num_mask_tokens"],
        grid=_grid(args),
        layout=case.layout,
    )
    if not later:
        return base
    levels = args.get("n_output_distillation", 4)
    modality = args.get("modality_embedding", True) and args.get("img_temporal_dim_size") == 1
    return replace(
        base,
        output=_output(args, levels),
        rescale=args.get("interpolate_rope", False),
        levels=levels,
        context_head=args.get("return_all_tokens", False),
        modality=modality,
    )


def _output(args: Arguments, levels: int) -> int:
    width = args.get("out_embed_dim") or args["embed_dim"]
    if not args.get("out_embed_dim") and args.get("teacher_embed_dim"):
        width = args["teacher_embed_dim"] // levels
    return int(levels * width)


def _probe(args: Arguments) -> ProbeShape:
    found = ProbeShape(
        width=args["embed_dim"],
        heads=args["num_heads"],
        depth=args["depth"],
        classes=args["num_classes"],
        hidden=int(args["embed_dim"] * args["mlp_ratio"]),
    )
    return replace(found, eps=args["norm_eps"]) if "norm_eps" in args else found
