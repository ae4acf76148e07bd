"""How much memory a model and its work take, and whether that may be.

Owns: the estimate, the refusal with both numbers. Does not know: which device, how it is loaded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from jepad.errors import TooLarge
from jepad.models.library import WEIGHTS, Installed
from jepad.scene.model import Model
from jepad.scene.placement import megabytes

#: Bytes of a weight beside one of fp32, where the manifest doesn't say.
_SHARE = {"fp32": 1.0, "bf16": 0.5, "int8": 0.27, "fp8": 0.27}
#: The runtime itself, and what it keeps between runs.
OVERHEAD = 64 << 20


@dataclass(frozen=True, slots=True)
class Budget:
    """What the engine may hold; 0 = whatever the device has."""

    limit: int = 0
    held: int = 0  # of it already: weights, and the runtime

    def check(self, need: int, have: int, what: str) -> None:
        """TooLarge unless `need` bytes fit into `have` and the limit."""
        if self.limit and self.held + need > self.limit:
            whole = self.held + need
            raise TooLarge(
                f"{what} needs {megabytes(whole)}, the limit is {megabytes(self.limit)}: "
                "raise the memory limit, or take a smaller model or int8 weights"
            )
        if need > have:
            raise TooLarge(
                f"{what} needs {megabytes(need)}, {megabytes(have)} are free: "
                "free some, or take a smaller model or int8 weights"
            )

    def room(self, have: int) -> int:
        """Bytes that work may take of the `have` that are free."""
        return min(have, self.limit - self.held) if self.limit else have


def resident(model: Installed, precision: str) -> int:
    """Bytes of weights in memory."""
    told = model.manifest.resident_bytes
    if precision in told:
        return told[precision]
    if WEIGHTS in model.manifest.files:
        return int(os.path.getsize(model.path(WEIGHTS)) * _SHARE[precision])
    return int(max(told.values(), default=0))


def needed(installed: Installed, precision: str) -> int:
    """To load a model and encode one clip of the size it was trained on."""
    model = Model(installed.manifest)
    grid = model.frame if model.acting else model.encoder.grid
    return resident(installed, precision) + work(model, grid.tokens) + OVERHEAD


def beside(installed: Installed, precision: str, limit: int) -> Budget:
    """For work, once the model is loaded."""
    return Budget(limit, resident(installed, precision) + OVERHEAD)


def work(model: Model, tokens: int) -> int:
    """Bytes of activations while so many tokens are encoded together."""
    shape = model.encoder
    # x, its norm, q, k, v and what attention gives; the wider of them meets the MLP's two.
    return tokens * 4 * (shape.inputs + 6 * shape.width + 2 * shape.hidden)
