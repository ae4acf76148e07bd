"""From the graph's outputs back to the units of the input.

Owns: ordering, finiteness, the fall-back to persistence for channels the model can't speak of.
Does not know: which runtime computed the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.heads.prepare import Prepared
from jepad.records import Floats32


@dataclass(frozen=True, slots=True)
class Output:
    """The model's word on a batch of windows."""

    quantiles: NDArray[np.float64]  # [B, C, H, 3]: p10, p50, p90 in the input's units
    p_rise: Floats32  # [B, C, H]
    z: Floats32  # [B, D]
    z_hat: Floats32  # [B, H, D]
    usable: NDArray[np.bool_]  # [B, C]: False = too few samples, persistence was given
    #: [B, C, H, 3]: p10, p50, p90 of what the action changes, in the input's units; zeros = no
    #: action; None = the graph knows none.
    effect: NDArray[np.float64] | None = None


def finish(prepared: Prepared, outputs: Mapping[str, NDArray[np.float32]]) -> Output:
    """outputs: quantiles [B,C,H,3] in scales, p_rise logits [B,C,H], z [B,D], z_hat [B,H,D], and
    effect [B,C,H,3] in scales where the graph has it."""
    steps = np.sort(outputs["quantiles"].astype(np.float64), axis=-1)
    spoken = np.isfinite(steps).all((2, 3)) & prepared.usable
    steps = np.where(spoken[:, :, None, None], steps, 0.0)
    moved = prepared.last[:, :, None, None] + steps * prepared.scale[..., None]
    logits = np.clip(np.nan_to_num(outputs["p_rise"], nan=-30.0), -30, 30)
    rise = 1 / (1 + np.exp(-logits))
    return Output(
        quantiles=np.nan_to_num(moved),
        p_rise=np.where(spoken[:, :, None], rise, 0.0).astype(np.float32),
        z=np.nan_to_num(outputs["z"]),
        z_hat=np.nan_to_num(outputs["z_hat"]),
        usable=spoken,
        effect=_effect(prepared, outputs.get("effect")),
    )


def _effect(prepared: Prepared, said: NDArray[np.float32] | None) -> NDArray[np.float64] | None:
    if said is None:
        return None
    steps = np.sort(np.nan_to_num(said.astype(np.float64)), axis=-1)
    return np.nan_to_num(steps * prepared.scale[..., None])
