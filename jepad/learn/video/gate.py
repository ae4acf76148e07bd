"""What a cheaper precision is worth: pooled cosine, worst token, the planner's choices; and no.

Owns: the three figures, their limits, clips to measure on. Does not know: runtimes; both sides
are callables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepad.errors import ModelError

Array = NDArray[np.float32]
#: A clip's patches [B, K, P] -> its tokens [B, K, D].
Encode = Callable[[Array], Array]
#: Tokens of start and goal [1, K, D], actions [S, A] -> an energy for each action, [S].
Energies = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True, slots=True)
class Limits:
    """The least that is taken. Pooled alone hides a lost token, both hide a moved choice."""

    pooled: float = 0.999
    worst: float = 0.9
    agreement: float = 0.9


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of one precision against fp32."""

    pooled: float  # least cosine of the mean over a clip's tokens
    worst: float  # least cosine of any token
    clips: int
    tokens: int
    #: Share of plans whose best action is the same; None without an action predictor.
    agreement: float | None = None

    def missed(self, limits: Limits = Limits()) -> str:
        """What is below its limit, in words; empty if nothing is."""
        pairs = [
            ("pooled cosine", self.pooled, limits.pooled),
            ("worst token's cosine", self.worst, limits.worst),
            ("planner's agreement", self.agreement, limits.agreement),
        ]
        low = [f"{w} {v:.5f} < {least}" for w, v, least in pairs
               if v is not None and not v >= least]  # fmt: skip
        return ", ".join(low)

    def figures(self, limits: Limits = Limits()) -> dict[str, Any]:
        """For a manifest."""
        return {**asdict(self), "limits": asdict(limits), "passed": not self.missed(limits)}


def tokens_alike(expected: Array, got: Array) -> Accuracy:
    """expected, got [B, K, D]; a NaN is as far as can be. ModelError: other shapes."""
    if expected.shape != got.shape:
        raise ModelError(f"tokens of shape {got.shape} where {expected.shape} are expected")
    pooled = _cosine(expected.mean(1), got.mean(1))
    each = _cosine(expected, got)
    return Accuracy(_least(pooled), _least(each), expected.shape[0], each.size)


def choices_alike(
    pairs: Sequence[tuple[Array, Array]],
    encoders: tuple[Encode, Encode],
    energies: Energies,
    actions: Array,
) -> float:
    """Share of (start, goal) pairs of patches [1, K, P] for which both encoders lead the planner
    to the same of the actions [S, A]."""
    same = 0
    for start, goal in pairs:
        best = [int(np.argmin(energies(each(start), each(goal), actions))) for each in encoders]
        same += best[0] == best[1]
    return same / len(pairs)


def clips(count: int, tokens: int, patch: int, seed: int = 0) -> Array:
    """Patches [count, tokens, patch] to measure on where no video is: smooth fields with an edge
    and noise, of the range of normalised pixels. Deterministic."""
    draws = np.random.default_rng(seed)
    place = np.linspace(0, 1, tokens)[None, :, None]
    inside = np.linspace(0, 1, patch)[None, None, :]
    speed, phase = draws.uniform(1, 9, (2, count, 1, 1)), draws.uniform(0, 6.3, (count, 1, 1))
    out = np.sin(speed[0] * place * 6.3 + phase) + 0.5 * np.cos(speed[1] * inside * 6.3 - phase)
    out += np.where(place > draws.uniform(0.2, 0.8, (count, 1, 1)), 0.8, -0.4)
    noisy: Array = (out + 0.2 * draws.standard_normal(out.shape)).astype(np.float32)
    return noisy


def _cosine(a: Array, b: Array) -> NDArray[np.float64]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray((a * b).sum(-1) / np.maximum(size, 1e-30))


def _least(cosines: NDArray[np.float64]) -> float:
    return float(np.nan_to_num(cosines, nan=-1.0).min())
