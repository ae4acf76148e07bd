"""The model's graph on onnxruntime, one thread, small and quiet.

Owns: the only import of onnxruntime, how a session is set up. Does not know what goes in or out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

from jepad.engine.backend import Arrays
from jepad.errors import EngineError, ModelError

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it loads, or it reports home
import onnxruntime as ort

#: What a graph has that can be asked about actions; whether it was trained to, its card says.
ACTION_INPUTS, EFFECT = {"action", "effects"}, "effect"


class OnnxBackend:
    """A graph loaded from the very bytes that were verified."""

    def __init__(self, path: str, digest: str, actions: Sequence[str]) -> None:
        self.digest = digest
        self._session = session(_verified(path, digest))
        self.inputs = {i.name for i in self._session.get_inputs()}
        self._outputs = [o.name for o in self._session.get_outputs()]
        able = self.inputs >= ACTION_INPUTS and EFFECT in self._outputs
        self.actions = tuple(actions) if able else ()

    def infer(self, feeds: Arrays) -> Arrays:
        """Run the graph once."""
        missing = self.inputs - feeds.keys()
        if missing:
            raise EngineError(f"the model wants inputs {sorted(missing)}: is it of this version?")
        try:
            values = self._session.run(self._outputs, {name: feeds[name] for name in self.inputs})
        except Exception as error:
            raise EngineError(f"the model failed: {error}") from error
        return dict(zip(self._outputs, values, strict=True))


def load(path: str, digest: str, actions: Sequence[str] = ()) -> OnnxBackend:
    """ModelError with the path, whatever is wrong with the file. `actions`: as its card says."""
    try:
        return OnnxBackend(path, digest, actions)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{path}: not a model onnxruntime can run: {error}") from error


def _verified(path: str, digest: str) -> bytes:
    """Read once and hash what was read: the file may change after any earlier check."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ModelError(f"{path}: cannot read the model: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ModelError(f"{path}: SHA-256 is {found}, expected {digest}. Reinstall the model.")
    return content


def session(graph: str | bytes, threads: int = 1) -> Any:
    """An InferenceSession on the CPU, of a path or of bytes; onnxruntime's own errors."""
    return ort.InferenceSession(graph, _options(threads), providers=["CPUExecutionProvider"])


def _options(threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning burns a core between two ticks; an arena keeps the largest batch for ever;
    # memory patterns stay on: one block a run in place of hundreds is a fifth of a batch's time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    return options
