"""Linear layers with one byte a weight, in the place of torch's own.

Owns: the rounding, the scale of every output channel, which dtype a product is computed in.
Does not know: which layers may be rounded, what accuracy is enough.

Weight-only: activations stay in the dtype they come in, so memory is what is saved, and the time
to read it. Both int8 values and e4m3 numbers are exact in bfloat16, and scales are chosen among
its numbers, so nothing is lost beyond the rounding itself when a module is cast to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepad.errors import ModelError, SettingError

Form = Literal["int8", "fp8"]
#: The largest magnitude of each form; int8 leaves -128 out, which keeps it symmetric.
LARGEST = {"int8": 127.0, "fp8": 448.0}


class Rounded(NamedTuple):
    """A weight matrix in one byte a number."""

    values: Tensor  # [out, in], int8; of fp8 the bits, as uint8: `.to(dtype)` leaves them alone
    scales: Tensor  # float32 [out], each exact in bfloat16

    def restored(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The matrix that products really use, [out, in]."""
        return _numbers(self.values, dtype) * self.scales.to(dtype)[:, None]


def rounded(weight: Tensor, form: Form) -> Rounded:
    """weight [out, in], on its own device. A channel of zeros gets scale 1.

    SettingError: another form. ModelError: weights that aren't numbers.
    """
    if form not in LARGEST:
        raise SettingError(f"weights are rounded to 'int8' or 'fp8', not {form!r}")
    exact = weight.detach().float()
    top = exact.abs().amax(1)
    if not bool(top.isfinite().all()):
        raise ModelError("a weight is NaN or infinite: the checkpoint is damaged")
    scales = _upwards(torch.where(top > 0, top / LARGEST[form], 1.0))
    small = (exact / scales[:, None]).clamp(-LARGEST[form], LARGEST[form])
    if form == "int8":
        return Rounded(small.round().to(torch.int8), scales)
    return Rounded(small.to(torch.float8_e4m3fn).view(torch.uint8), scales)


class RoundedLinear(nn.Module):
    """`nn.Linear`'s drop-in replacement for inference; the bias is kept as it is."""

    values: Tensor
    scales: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, form: Form) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        made = rounded(linear.weight, form)
        self.register_buffer("values", made.values)
        self.register_buffer("scales", made.scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in], float -> [..., out] of x's dtype. Scales are of the output's channels, so
        they multiply the product and not the far larger matrix."""
        out = functional.linear(x, _numbers(self.values, x.dtype))
        scales = self.scales.to(x.dtype)
        return out * scales if self.bias is None else torch.addcmul(self.bias, out, scales)

    def extra_repr(self) -> str:
        """As nn.Linear's, for a print of the model."""
        form = "int8" if self.values.dtype == torch.int8 else "fp8"
        return f"in_features={self.in_features}, out_features={self.out_features}, {form}"


def replace(module: nn.Module, form: Form, chosen: Callable[[str], bool]) -> list[str]:
    """Round, in place, every `nn.Linear` of `module` whose full name is chosen -> their names.

    Layer by layer: on top of the module there is never more than one layer of both kinds.
    ModelError names the layer whose weights aren't numbers.
    """
    names = [name for name, layer in module.named_modules()
             if isinstance(layer, nn.Linear) and chosen(name)]  # fmt: skip
    for name in names:
        try:
            made = RoundedLinear(cast(nn.Linear, module.get_submodule(name)), form)
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from error
        module.set_submodule(name, made)
    return names


def resident(module: nn.Module) -> int:
    """Bytes of its parameters and buffers."""
    held = [*module.parameters(), *module.buffers()]
    return sum(tensor.nbytes for tensor in held)


def _numbers(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The stored bytes as numbers of `dtype`, not yet scaled."""
    bits = values if values.dtype == torch.int8 else values.view(torch.float8_e4m3fn)
    return bits.to(dtype)


def _upwards(scales: Tensor) -> Tensor:
    """The next bfloat16 that isn't smaller, as float32: nothing is clipped, casts lose nothing."""
    cut = scales.to(torch.bfloat16)
    above = torch.nextafter(cut, torch.full_like(cut, torch.inf))
    return torch.where(cut.float() < scales, above, cut).float()
