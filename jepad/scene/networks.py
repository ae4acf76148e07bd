"""The networks of an installed model, on a device and in the precision they are served in.

Owns: which part is kept in what, rows of query and key in the order that tables are served in.
Does not know: requests, CUDA graphs.

The encoder's blocks take rounded weights; its last layer, and both predictors, stay in bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast

import torch
from safetensors import safe_open
from torch import Tensor, nn

from jepad.errors import ModelError, NotFound, SettingError
from jepad.jepa.attention import KeysValues, Turn
from jepad.jepa.target import normed
from jepad.jepa.video.action import ActionPredictor, Given
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.predictor import MaskPredictor
from jepad.jepa.video.probe import AttentiveProbe
from jepad.jepa.video.quantised import Form, replace, resident
from jepad.jepa.video.rollout import Moment
from jepad.learn.video import parts
from jepad.learn.video.quantise import quantised
from jepad.models import library
from jepad.models.library import WEIGHTS, Installed
from jepad.scene.backend import Tables
from jepad.scene.model import step_tables
from jepad.vision.grid import Grid, Rope, halves_order

#: Precision to the dtype of activations and of what isn't rounded.
DTYPES = {
    "bf16": torch.bfloat16,
    "int8": torch.bfloat16,
    "fp8": torch.bfloat16,
    "fp32": torch.float32,
}
ROUNDED = ("int8", "fp8")
Past = tuple[KeysValues, ...]
M = TypeVar("M", bound=nn.Module)


class PairedTurn(Turn):
    """Of paired rows, `sin` negative in its first half (`turned` makes it so): two passes over a
    tensor less than the plain form, which on a GPU is what turning costs."""

    __slots__ = ()

    def __call__(self, x: Tensor) -> Tensor:
        """x [B, heads, N, head], turned."""
        return torch.addcmul(x * self.cos, x.roll(x.shape[-1] // 2, -1), self.sin)


def turned(tables: Tables, device: torch.device, dtype: torch.dtype) -> PairedTurn:
    """Tables [R, K, head] in halves form as [R, 1, K, head] on a device."""
    cos, sin = (torch.from_numpy(each)[:, None] for each in tables)
    low, high = sin.chunk(2, -1)
    sin = torch.cat([-low, high], -1)
    return PairedTurn(cos.to(device, dtype), sin.to(device, dtype), True)


@dataclass(frozen=True, slots=True)
class Networks:
    """The parts there are."""

    encoder: VideoEncoder
    predictor: MaskPredictor | None
    action: ActionPredictor | None
    device: torch.device
    precision: str
    probe: AttentiveProbe | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Of activations."""
        return DTYPES[self.precision]

    @property
    def resident_bytes(self) -> int:
        """Of weights on the device."""
        return sum(resident(each) for each in self._all())

    def step(
        self, now: Moment, action: Tensor, keep: bool, grid: Grid | None = None
    ) -> tuple[Tensor, Past | None]:
        """`rollout.World.act` in this precision, float32 in and out; the past is in it. `grid`: of
        a frame, where it isn't the shape's. NotFound: a model that knows no actions."""
        if self.action is None:
            raise NotFound("this model knows no actions: only a 2-AC model predicts and plans")
        shape = self.action.shape
        frame = Grid(1, shape.grid.rows, shape.grid.columns) if grid is None else grid
        turn = _step_turn(shape.rope, frame, now.t, (self.device, self.dtype))
        given = Given(action.to(self.dtype), now.state.to(self.dtype))
        tokens = now.tokens.to(self.dtype)
        following, past = self.action.step(tokens, given, now.past, turn, keep)
        return normed(following.float()), past if keep else None

    def release(self) -> None:
        """Free the weights; nothing can be computed after."""
        for each in self._all():
            each.to("meta")

    def _all(self) -> list[nn.Module]:
        all_four = (self.encoder, self.predictor, self.action, self.probe)
        return [each for each in all_four if each is not None]


class Weights:
    """The tensors of an installed model, on the host and as far as possible not copied.

    ModelError: damaged files (all are hashed first), tensors that don't fit the shapes.
    NotFound: a model imported without its weights.
    """

    def __init__(self, installed: Installed) -> None:
        library.verify(installed)
        self._path = installed.path(WEIGHTS)
        self._shapes = parts.shapes_of(installed.manifest.shapes)
        try:
            self._file: Any = safe_open(self._path, "pt")
        except Exception as error:
            raise ModelError(f"{self._path}: no safetensors file: {error}") from error

    def part(self, kind: type[M], part: str) -> M | None:
        """A network in float32, its rows paired."""
        shape = self._shapes.get(part)
        if shape is None:
            return None

        def read(key: str) -> Tensor:
            tensor: Tensor = self._file.get_tensor(f"{part}.{key}").float()
            turns = ".attn.qkv." in key and part != "probe"
            return paired(tensor, shape.heads) if turns else tensor

        try:
            made = parts.filled(shape, read)
        except Exception as error:
            raise ModelError(f"{self._path}: {part}: {error}; import the model again") from error
        if not isinstance(made, kind):
            raise ModelError(f"{self._path}: its {part} is a {type(made).__name__}")
        return made

    def encoder(self) -> VideoEncoder:
        """Which every model has."""
        made = self.part(VideoEncoder, "encoder")
        assert made is not None  # the library refuses a manifest without one
        return made


def networks_of(weights: Weights, device: torch.device, precision: str) -> Networks:
    """Rounded on the host, then moved: the device never holds more than it will keep.

    SettingError: no such precision; and what `Weights` raises.
    """
    if precision not in DTYPES:
        raise SettingError(f"precision {precision!r}: torch serves {', '.join(DTYPES)}")
    dtype, encoder = DTYPES[precision], weights.encoder()
    if precision in ROUNDED:
        depth = encoder.shape.depth
        replace(encoder, cast(Form, precision), lambda name: quantised(name, depth))
    predictor = weights.part(MaskPredictor, "predictor")
    action = weights.part(ActionPredictor, "action")
    probe = weights.part(AttentiveProbe, "probe")
    for each in (encoder, predictor, action, probe):
        if each is not None:
            each.to(device=device, dtype=dtype)
    return Networks(encoder, predictor, action, device, precision, probe)


@lru_cache(maxsize=32)
def _step_turn(
    rope: Rope, frame: Grid, t: int, place: tuple[torch.device, torch.dtype]
) -> PairedTurn:
    return turned(step_tables(rope, frame, t), *place)


def paired(rows: Tensor, heads: int) -> Tensor:
    """qkv's weight [3 · D, D] or bias [3 · D], rows of query and key in `halves_order`."""
    split = rows.reshape(3, heads, -1, *rows.shape[1:])
    order = torch.from_numpy(halves_order(split.shape[2]))
    return torch.cat([split[:2, :, order], split[2:]]).reshape(rows.shape)
