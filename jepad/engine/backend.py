"""What the engine asks of whatever runs the model's graph.

Owns: the protocol. Does not know ONNX, preparation or units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Backend(Protocol):
    """One loaded model."""

    @property
    def digest(self) -> str:
        """SHA-256 of the model file that was loaded."""
        ...

    @property
    def actions(self) -> Sequence[str]:
        """Kinds of actions whose effects it was trained on; () = it knows of none."""
        ...

    def infer(self, feeds: Arrays) -> Arrays:
        """Run the graph once; EngineError if it can't take these feeds."""
        ...
