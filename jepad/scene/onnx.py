"""A video world model on onnxruntime, on the CPU.

Owns: the three graphs and what goes in and out of them. Does not know pictures, batching, sockets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepad.engine.onnx import session
from jepad.errors import EngineError, JepadError, ModelError, SettingError
from jepad.jepa.video.rollout import Moment
from jepad.models import library
from jepad.models.library import Installed, Manifest
from jepad.scene.backend import Array, Encoded, Floats, Tables
from jepad.scene.model import Model, step_tables
from jepad.scene.normal import normed
from jepad.scene.placement import CPU, cpu

LEVELS = "levels"
#: Preferred first; what the manifest has decides.
PRECISIONS = ("int8", "fp32")
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


class OnnxBackend:
    """As backend.Backend says. Every file was hashed before it was opened."""

    device = CPU
    xp: Any = np

    def __init__(self, installed: Installed, precision: str, threads: int = 1) -> None:
        library.verify(installed)
        self.precision = precision
        self._installed = installed
        self._model = Model(installed.manifest)
        # Predictors are small, and what they say is summed up over steps: they stay float.
        graphs = {part: precision if part == "encoder" else "fp32" for part in self._model.parts}
        self._sessions = {
            part: session(installed.graph(part, form), threads) for part, form in graphs.items()
        }

    @property
    def manifest(self) -> Manifest:
        """Of the model."""
        return self._installed.manifest

    @property
    def gate(self) -> Mapping[str, Any]:
        """As the import measured it."""
        found: Mapping[str, Any] = self.manifest.gate.get(self.precision, {})
        return found

    def free_bytes(self) -> int:
        """Of this machine."""
        return cpu().free_bytes

    def encode(self, patches: Floats, tables: Tables, levels: bool = False) -> Encoded:
        """As the protocol says."""
        feeds = {"patches": patches, "cos": tables.cos, "sin": tables.sin}
        tokens, *rest = self._run("encoder", feeds, ["tokens", *[LEVELS] * levels])
        return Encoded(tokens, rest[0] if rest else None)

    def predict(self, context: Floats, tables: Tables, mask_index: int) -> Floats:
        """As the protocol says."""
        index = np.array(mask_index, np.int64)
        feeds = {"context": context, "cos": tables.cos, "sin": tables.sin, "mask_index": index}
        targets: Floats = self._run("predictor", feeds, ["targets"])[0]
        return targets

    def classify(self, tokens: Floats) -> Floats:
        """As the protocol says."""
        logits: Floats = self._run("probe", {"tokens": tokens}, ["logits"])[0]
        return logits

    def act(self, now: Moment, action: Array, keep: bool) -> tuple[Array, Pair | None]:
        """As the protocol says."""
        shape = self._model.deciding()
        turn = step_tables(shape.rope, self._model.frame, now.t)
        past = now.past or _nothing(shape.depth, shape.heads, shape.width // shape.heads)
        feeds = {
            "tokens": now.tokens,
            "action": np.ascontiguousarray(action, np.float32),
            "state": np.ascontiguousarray(now.state, np.float32),
            "cos": turn.cos,
            "sin": turn.sin,
            "past_keys": past[0],
            "past_values": past[1],
        }
        if not keep:
            return normed(self._run("action", feeds, ["next"])[0]), None
        after, keys, values = self._run("action", feeds, ["next", "keys", "values"])
        return normed(after), (_longer(past[0], keys), _longer(past[1], values))

    def put(self, array: NDArray[Any]) -> Array:
        """It stays where it is."""
        return np.ascontiguousarray(array, np.float32)

    def get(self, array: Array) -> NDArray[Any]:
        """It is one already."""
        return np.asarray(array)

    def close(self) -> None:
        """Let go of the graphs."""
        self._sessions.clear()

    def _run(self, part: str, feeds: dict[str, Any], wanted: list[str]) -> list[Any]:
        try:
            values: list[Any] = self._sessions[part].run(wanted, feeds)
        except Exception as error:
            raise EngineError(f"the model's {part} failed: {error}") from error
        return values


def load(installed: Installed, precision: str = "", threads: int = 1) -> OnnxBackend:
    """`precision` "" = the smallest there is. ModelError, NotFound, SettingError: what is wrong."""
    have = installed.manifest.precisions
    chosen = precision or next((p for p in PRECISIONS if p in have), "")
    if chosen not in PRECISIONS:
        raise SettingError(
            f"precision {precision or '(none)'!r}: on the CPU model {installed.manifest.name} runs "
            f"in {', '.join(have) or 'nothing: import it again'}"
        )
    try:
        return OnnxBackend(installed, chosen, threads)
    except JepadError:
        raise
    except Exception as error:
        said = f"{installed.directory}: not a model onnxruntime can run: {error}"
        raise ModelError(said) from error


def _nothing(layers: int, heads: int, head: int) -> Pair:
    empty = np.empty((layers, 1, heads, 0, head), np.float32)
    return empty, empty


def _longer(past: Floats, more: Floats) -> Floats:
    """[layers, B or 1, heads, P, h] and [layers, B, heads, N, h] -> [..., P + N, h]."""
    if past.shape[1] != more.shape[1]:
        past = np.broadcast_to(past, (*past.shape[:1], more.shape[1], *past.shape[2:]))
    return np.concatenate([past, more], 3)
