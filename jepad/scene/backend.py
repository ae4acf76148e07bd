"""What the scene engine asks of whatever runs a video world model.

Owns: the protocol and its records. Does not know ONNX, torch, sockets or pictures.
Position tables are `jepad.vision.grid.tables(rope, positions, halves=True)`: [R, K, head], R = 1
(the same for all of a batch) or B; query and key rows are permuted to match.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from jepad.jepa.video.rollout import Moment, Past
from jepad.models.library import Manifest

Floats = NDArray[np.float32]
#: Of the backend's own kind, where it computes: numpy or a tensor on a device.
Array = Any


class Tables(NamedTuple):
    """Cosines and sines of rotary positions, float32 [R, K, head]."""

    cos: Floats
    sin: Floats


class Encoded(NamedTuple):
    """What an encoder says."""

    tokens: Floats  # [B, K, D]
    levels: Floats | None = None  # 2.1: [B, K, L * D], what its predictor reads


class Backend(Protocol):
    """One loaded model on one device; every method may raise DeviceLost, EngineError or TooLarge,
    and after DeviceLost nothing is asked any more but `close`."""

    @property
    def manifest(self) -> Manifest:
        """Of the model; `manifest.digest` is its identity."""
        ...

    @property
    def device(self) -> str:
        """ "cpu", "cuda:0", ..."""
        ...

    @property
    def precision(self) -> str:
        """ "fp32", "bf16", "int8", "fp8"."""
        ...

    @property
    def gate(self) -> Mapping[str, Any]:
        """How near this precision is to fp32, as in a manifest's `gate`; empty: never measured."""
        ...

    @property
    def xp(self) -> Any:
        """The array module that planning computes with: numpy or torch."""
        ...

    def free_bytes(self) -> int:
        """Memory of the device that is free now."""
        ...

    def encode(self, patches: Floats, tables: Tables, levels: bool = False) -> Encoded:
        """patches [B, K, P], normalised, as `jepad.vision.patches.unfold` gives them: of tubelets,
        or (2.1) of single images."""
        ...

    def predict(self, context: Floats, tables: Tables, mask_index: int) -> Floats:
        """context [B, C, D or L * D], tables of C + T tokens, context first -> [B, T, output]."""
        ...

    def classify(self, tokens: Floats) -> Floats:
        """tokens [B, K, D] of clips -> how much speaks for each class, [B, classes] logits."""
        ...

    def act(self, now: Moment, action: Array, keep: bool) -> tuple[Array, Past]:
        """One step of the action-conditioned model, as `rollout.World.act`: arrays of `put`;
        action [B, A] -> the next frame's tokens [B, K, D], layer-normed, and the past with this
        moment in it (None unless `keep`)."""
        ...

    def put(self, array: NDArray[Any]) -> Array:
        """A float array to where planning computes, float32."""
        ...

    def get(self, array: Array) -> NDArray[Any]:
        """And back."""
        ...

    def close(self) -> None:
        """Let go of memory and device; never raises."""
        ...
