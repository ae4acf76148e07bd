"""The shapes of a block, of a world model and of its training, as frozen records.

Owns: names and defaults. Does not know: what the numbers are used for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class BlockShape:
    """Sizes of one transformer block; telemetry and video share it."""

    width: int
    heads: int
    hidden: int  # of the MLP
    eps: float = 1e-6  # of both norms
    gelu: Literal["none", "tanh"] = "none"  # "none": exact (erf), in torch's word
    #: The fused kernel; written out, a dozen tokens are faster, on CPU.
    fused: bool = True


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network; every constructor takes this and nothing else."""

    context: int = 128
    patch: int = 32
    inputs: int = 3  # values a sample
    stats: int = 42
    anchors: int = 15  # the last is the threshold of p_rise
    season: int = 58
    action: int = 24
    effects: int = 6  # plain guesses for what an action changes
    horizons: tuple[int, ...] = (1, 4, 16, 64)
    width: int = 128
    heads: int = 4
    mlp_ratio: int = 2
    head: int = 64  # hidden width of the event and effect heads
    time_blocks: int = 2
    predictor_blocks: int = 2

    @property
    def patches(self) -> int:
        """Patches of one channel's context."""
        return self.context // self.patch

    @property
    def block(self) -> BlockShape:
        """Of every block."""
        hidden = self.mlp_ratio * self.width
        return BlockShape(self.width, self.heads, hidden, gelu="tanh", fused=False)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a model is trained."""

    steps: int = 5000
    warmup: int = 200
    peak: float = 1e-3  # learning rate
    decay: float = 0.02  # weight decay
    #: Of the EMA target. Constant: as the learning rate fades, the target catches up, and the
    #: encoder that ships speaks the latents its predictor learned.
    momentum: float = 0.996
    latent: float = 2.0  # weight of the latent loss
    event: float = 0.3  # weight of the event loss
    clip: float = 1.0
    seed: int = 0
    bfloat16: bool = True
