"""Negative controls: models made wrong on purpose; the golden cases must tell them from right ones.

Owns: the faults, how far each must at least move an output. Does not know: the faultless run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench import golden
from bench.golden import Case
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.shape import ProbeShape

#: At least, over all outputs of a case; rounding moves them by 1.5e-5 at most. A wrong eps is the
#: faintest fault: the comparison must fail, and it does by little.
PLAIN, EPS = 1e-3, golden.TOLERANCE
#: Parameters that no call of a case depends on, as its JSON says.
UNUSED = "no_effect_or_below_1e-3"


@dataclass(frozen=True, slots=True)
class Control:
    """One fault, and what it did."""

    case: str
    fault: str
    delta: float  # max|Δ| over the outputs
    least: float

    @property
    def ok(self) -> bool:
        """The fault was seen."""
        return self.delta >= self.least


def run(case: Case, quick: bool = False) -> Iterator[Control]:
    """All faults of a case of kind "modules"; `quick`: not every bias, but one a module."""
    yield from _layout(case)
    yield from _eps(case)
    yield from _biases(case, quick)
    yield from _leak(case)


def _layout(case: Case) -> Iterator[Control]:
    if all(isinstance(golden.shape(case, name), ProbeShape) for name in _modules(case)):
        return
    yield Control(case.name, "the other RoPE layout", _moved(case, _relaid), PLAIN)


def _eps(case: Case) -> Iterator[Control]:
    right = golden.shape(case, _modules(case)[0]).block.eps
    wrong = 1e-6 if right == 1e-5 else 1e-5
    delta = _moved(case, partial(_normed, eps=wrong))
    yield Control(case.name, f"eps {wrong:g} in place of {right:g}", delta, EPS)


def _biases(case: Case, quick: bool) -> Iterator[Control]:
    module = _modules(case)[0]
    idle = case.about.get("checks", {}).get("drop_one_parameter", {}).get(UNUSED, {})
    named = [
        name
        for name, _ in golden.build(case, module).named_parameters()
        if name.endswith(".bias") and f"{module}/{name}" not in idle
    ]
    for name in named[:: len(named)] if quick else named:
        delta = _moved(case, partial(_zeroed, name=name))
        yield Control(case.name, f"{name} dropped", delta, PLAIN)


def _leak(case: Case) -> Iterator[Control]:
    """Tokens cut after the encoder, as `transformers` does it, have seen what they must not."""
    for call in case.config["calls"]:
        model = golden.build(case, call["module"])
        args = golden.arguments(case, call)
        if not isinstance(model, VideoEncoder) or set(args) != {"x", "masks"}:
            continue
        with torch.inference_mode():
            seen = model.encode(args["x"])
        keep = torch.cat(args["masks"])
        delta = golden.compare(case, f"out/{call['name']}", gathered(seen, keep)).delta
        yield Control(case.name, f"{call['name']}: mask leaked", delta, PLAIN)
        return


def gathered(tokens: Tensor, keep: Tensor) -> Tensor:
    """tokens [B, N, D], keep [M * B, K] -> [M * B, K, D]: cut after they have seen all others."""
    tokens = tokens.repeat(len(keep) // len(tokens), 1, 1)
    return tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[2]))


def _moved(case: Case, spoil: Callable[[nn.Module], nn.Module]) -> float:
    """max|Δ| over everything the case has, of spoilt models."""
    models: Mapping[str, Any] = {
        name: spoil(golden.build(case, name)) for name in case.config["modules"]
    }
    return max((row.delta for row in golden.run(case, models)), default=0.0)


def _modules(case: Case) -> list[str]:
    return [name for name, spec in case.config["modules"].items() if "params_from" not in spec]


def _relaid(model: nn.Module) -> nn.Module:
    shape: Any = model.shape
    other = "interleaved" if shape.layout == "tiled" else "tiled"
    model.shape = replace(shape, layout=other)
    return model


def _normed(model: nn.Module, eps: float) -> nn.Module:
    for norm in model.modules():
        if isinstance(norm, nn.LayerNorm):
            norm.eps = eps
    return model


def _zeroed(model: nn.Module, name: str) -> nn.Module:
    with torch.no_grad():
        for own, parameter in model.named_parameters():
            if own == name:
                parameter.zero_()
    return model
