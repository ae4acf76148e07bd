"""The sizes of V-JEPA 2, 2.1 and 2-AC as frozen records, those of the published models among them.

Owns: names, defaults, what fits what, the records as JSON. Does not know: weights, torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import msgspec

from jepad.errors import ModelError, SettingError
from jepad.jepa.config import BlockShape
from jepad.vision.grid import Grid, Layout, Rope

Version = Literal["2.0", "2.1"]
CHANNELS = 3  # red, green, blue
#: Several times what is published.
MOST, LARGEST = 1 << 20, {"depth": 256, "heads": 256, "width": 1 << 15, "hidden": 1 << 17}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderShape:
    """Of a VideoEncoder. `size` and `frames` are what it was trained on; it takes any."""

    width: int
    depth: int
    heads: int
    hidden: int  # of the MLP; 48/11 of the width in ViT-g, 64/13 in ViT-G, else 4
    layout: Layout
    patch: int = 16  # pixels a side
    tubelet: int = 2  # frames a token
    size: int = 256  # pixels a side
    frames: int = 64
    rescale: bool = False  # 2.1: h and w positions squeezed to 0..15
    version: Version = "2.0"
    image: bool = False  # 2.1: one frame has a patch embedding of its own
    modality: bool = False  # 2.1: an embedding says video or image
    levels: tuple[int, ...] = ()  # 2.1: blocks read out, the last one included; one norm each

    def __post_init__(self) -> None:
        _positive(self, "width", "depth", "heads", "hidden", "patch", "tubelet", "size", "frames")
        _rotary(self.width, self.heads)
        if self.frames % self.tubelet or self.size % self.patch:
            raise SettingError(self._refusal(self.frames, self.size, self.size))
        if (self.version == "2.1") != bool(self.levels):
            raise SettingError("2.1 reads out levels, and 2.0 does not")
        if self.levels and self.levels[-1] != self.depth - 1:
            raise SettingError(f"the last level is the last block, {self.depth - 1}")
        if list(self.levels) != sorted({level for level in self.levels if level >= 0}):
            raise SettingError(f"levels are blocks in ascending order, not {self.levels}")

    @property
    def block(self) -> BlockShape:
        """Of every block."""
        return BlockShape(self.width, self.heads, self.hidden)

    @property
    def rope(self) -> Rope:
        """Of every attention."""
        return Rope(self.layout, self.width // self.heads, self.rescale)

    @property
    def grid(self) -> Grid:
        """Of a clip as it was trained on."""
        return self.grid_of(self.frames, self.size, self.size)

    @property
    def inputs(self) -> int:
        """Values of one patch of a clip."""
        return CHANNELS * self.tubelet * self.patch**2

    @property
    def image_inputs(self) -> int:
        """Values of one patch of a single image (2.1)."""
        return self.inputs // self.tubelet

    def grid_of(self, frames: int, rows: int, columns: int) -> Grid:
        """Of a clip of so many frames of rows × columns pixels. SettingError: it doesn't divide."""
        image = self.image and frames == 1
        tubelet = 1 if image else self.tubelet
        if min(frames, rows, columns) < 1 or frames % tubelet or rows % self.patch:
            raise SettingError(self._refusal(frames, rows, columns))
        if columns % self.patch:
            raise SettingError(self._refusal(frames, rows, columns))
        return Grid(frames // tubelet, rows // self.patch, columns // self.patch)

    def _refusal(self, frames: int, rows: int, columns: int) -> str:
        return (
            f"a clip of {frames} frames of {rows}×{columns} pixels: this model takes multiples of "
            f"{self.tubelet} frames and {self.patch} pixels" + ", or one image" * self.image
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorShape:
    """Of a MaskPredictor. Positions come from `grid`, that of training, whatever the clip is."""

    width: int
    depth: int
    heads: int
    hidden: int
    source: int  # width of the encoder's tokens
    output: int  # width of what it says; of all levels together
    mask_tokens: int
    grid: Grid
    layout: Layout
    rescale: bool = False
    levels: int = 1  # of the encoder that a context token holds; over one: an MLP reads them
    context_head: bool = False  # 2.1: context tokens are predicted too
    modality: bool = False

    def __post_init__(self) -> None:
        _positive(self, "width", "depth", "heads", "hidden", "source", "output", "levels")
        _positive(self, "mask_tokens")
        _rotary(self.width, self.heads)

    @property
    def block(self) -> BlockShape:
        """Of every block."""
        return BlockShape(self.width, self.heads, self.hidden)

    @property
    def rope(self) -> Rope:
        """Of every attention."""
        return Rope(self.layout, self.width // self.heads, self.rescale)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeShape:
    """Of an AttentiveProbe. `heads` is the probe's own: 16 in every published one, whatever the
    encoder has; so is `eps`."""

    width: int
    heads: int
    depth: int  # blocks, the cross-attention one included
    classes: int
    hidden: int
    eps: float = 1e-5

    def __post_init__(self) -> None:
        _positive(self, "width", "heads", "depth", "classes", "hidden")
        _divides(self.width, self.heads)

    @property
    def block(self) -> BlockShape:
        """Of every block."""
        return BlockShape(self.width, self.heads, self.hidden, self.eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionShape:
    """Of an ActionPredictor."""

    width: int
    depth: int
    heads: int
    hidden: int
    source: int  # width of the encoder's tokens, in and out
    grid: Grid
    layout: Layout
    actions: int = 7  # x, y, z, three angles, gripper in Meta's; another body has others
    states: int = 7
    extrinsics: bool = False  # a camera token a step

    def __post_init__(self) -> None:
        _positive(self, "width", "depth", "heads", "hidden", "source", "actions", "states")
        _rotary(self.width, self.heads)

    @property
    def block(self) -> BlockShape:
        """Of every block."""
        return BlockShape(self.width, self.heads, self.hidden)

    @property
    def rope(self) -> Rope:
        """Of every attention."""
        return Rope(self.layout, self.width // self.heads)


@dataclass(frozen=True, slots=True)
class Preset:
    """A published model."""

    encoder: EncoderShape
    predictor: PredictorShape | None = None
    action: ActionShape | None = None


AnyShape = EncoderShape | PredictorShape | ProbeShape | ActionShape
_KINDS: dict[str, type[AnyShape]] = {
    "encoder": EncoderShape,
    "predictor": PredictorShape,
    "probe": ProbeShape,
    "action": ActionShape,
}


def to_json(shape: AnyShape) -> dict[str, Any]:
    """For a manifest; `kind` says which record it is."""
    kind = next(name for name, record in _KINDS.items() if record is type(shape))
    plain: dict[str, Any] = msgspec.to_builtins(shape)
    return {"kind": kind, **plain}


def from_json(data: object) -> AnyShape:
    """What `to_json` made. ModelError: unknown kind or field, wrong type, sizes that don't fit."""
    if not isinstance(data, Mapping) or data.get("kind") not in _KINDS:
        raise ModelError(f"a shape says its kind, one of {', '.join(_KINDS)}")
    record = _KINDS[data["kind"]]
    values = {name: value for name, value in data.items() if name != "kind"}
    if unknown := sorted(set(values) - {field.name for field in fields(record)}):
        raise ModelError(f"a shape of kind {data['kind']} has no {', '.join(unknown)}")
    try:
        return msgspec.convert(values, record)
    except (msgspec.ValidationError, SettingError) as err:
        raise ModelError(f"shape of kind {data['kind']}: {err}") from err


def _positive(shape: AnyShape, *names: str) -> None:
    """And no larger than any network there could be: a file may ask for anything."""
    wrong = [name for name in names if not 1 <= getattr(shape, name) <= LARGEST.get(name, MOST)]
    if wrong:
        limits = ", ".join(f"{name} 1 to {LARGEST.get(name, MOST)}" for name in wrong)
        raise SettingError(f"a {type(shape).__name__} has {limits}")


def _divides(width: int, heads: int) -> None:
    if width % heads:
        raise SettingError(f"a width of {width} doesn't divide into {heads} heads")


def _rotary(width: int, heads: int) -> None:
    _divides(width, heads)
    Rope("tiled", width // heads)  # says itself what a head must be


def _encoder(width: int, depth: int, heads: int, hidden: int) -> EncoderShape:
    return EncoderShape(width=width, depth=depth, heads=heads, hidden=hidden, layout="tiled")


def _later(encoder: EncoderShape, levels: tuple[int, ...]) -> EncoderShape:
    return replace(
        encoder,
        layout="interleaved",
        size=384,
        rescale=True,
        version="2.1",
        image=True,
        modality=True,
        levels=levels,
    )


def _masked(encoder: EncoderShape) -> Preset:
    predictor = PredictorShape(
        width=384,
        depth=12,
        heads=12,
        hidden=1536,
        source=encoder.width,
        output=encoder.width,
        mask_tokens=10,
        grid=encoder.grid,
        layout=encoder.layout,
    )
    return Preset(encoder, predictor)


def _levelled(encoder: EncoderShape, depth: int, teacher: int | None = None) -> Preset:
    """2.1. `teacher`: width of another encoder's tokens, which a distilled one predicts.

    Its predictor is not rescaled, as in Meta's loading code; their training did rescale it, at 256
    pixels, where the factor is 1: the published 384 files can't tell.
    """
    base = _masked(encoder).predictor
    levels = 1 if teacher else len(encoder.levels)
    assert base is not None
    predictor = replace(
        base,
        depth=depth,
        output=teacher or levels * encoder.width,
        mask_tokens=8,
        levels=levels,
        context_head=True,
        modality=True,
    )
    return Preset(encoder, predictor)


def _acting(encoder: EncoderShape) -> Preset:
    action = ActionShape(
        width=1024,
        depth=24,
        heads=16,
        hidden=4096,
        source=encoder.width,
        grid=encoder.grid,
        layout=encoder.layout,
    )
    return Preset(encoder, action=action)


_B = _encoder(768, 12, 12, 3072)
_L = _encoder(1024, 24, 16, 4096)
_H = _encoder(1280, 32, 16, 5120)
_g = _encoder(1408, 40, 22, 6144)
_G = _encoder(1664, 48, 26, 8192)
#: Blocks that 2.1 reads out, by its depth.
LEVELS = {12: (2, 5, 8, 11), 24: (5, 11, 17, 23), 40: (9, 19, 29, 39), 48: (11, 23, 37, 47)}

PRESETS: dict[str, Preset] = {
    "vitl-256": _masked(_L),
    "vith-256": _masked(_H),
    "vitg-256": _masked(_g),
    "vitg-384": _masked(replace(_g, size=384)),
    "vitb-384-2.1": _levelled(_later(_B, LEVELS[12]), 12, teacher=1664),
    "vitl-384-2.1": _levelled(_later(_L, LEVELS[24]), 12, teacher=1664),
    "vitg-384-2.1": _levelled(_later(_g, LEVELS[40]), 24),
    "vitG-384-2.1": _levelled(_later(_G, LEVELS[48]), 24),
    "vitg-256-ac": _acting(_g),
}
