"""One step down a loss, and a state that can be saved and taken up again: of any training here.

Owns: the optimiser's step, what is saved, what is refused. Does not know: networks, losses,
schedules, where batches come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from jepad.errors import ModelError, SettingError
from jepad.jepa import checkpoint


class Learner:
    """Parts that learn together or follow what learns; subclasses say how."""

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        optimiser: Optimizer,
        asked: Mapping[str, dict[str, Any]],
    ) -> None:
        """`asked`: by name the settings that a state to be taken up must have been made with."""
        self.parts = dict(parts)
        self.optimiser = optimiser
        self.asked = dict(asked)
        self.step = 0

    def descend(self, total: Tensor, rate: float, clip: float | None = None) -> None:
        """One step of the optimiser at the learning rate `rate`; `clip` bounds the norm of all
        gradients together."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            learned = [p for group in self.optimiser.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(learned, clip)
        self.optimiser.step()
        self.step += 1

    def save(self, path: str, beside: str = "") -> None:
        """Write everything needed to go on, atomically; `beside` is the caller's own text."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        here = {
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "step": self.step,
            "beside": beside,
        }
        checkpoint.write(path, state | here | self.asked)

    def restore(self, path: str) -> str:
        """Go on from `save`'s file as if never stopped; returns its `beside`.

        SettingError names what was asked for otherwise than in the file.
        """
        names = {*self.parts, *self.asked, "optimiser", "random", "step", "beside"}
        state = checkpoint.read(path, frozenset(names))
        self._same(path, state)
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError, KeyError) as e:
            raise ModelError(
                f"{path}: weights of another network than this release trains; "
                "start again without --resume"
            ) from e
        torch.set_rng_state(state["random"])
        self.step = int(state["step"])
        return str(state["beside"])

    def _same(self, path: str, state: dict[str, Any]) -> None:
        wanted = {k: v for record in self.asked.values() for k, v in record.items()}
        there = {k: v for name in self.asked for k, v in state[name].items()}
        other = [k for k in sorted(wanted | there) if wanted.get(k) != there.get(k)]
        if other:
            was = ", ".join(f"{k} {there.get(k)} (asked: {wanted.get(k)})" for k in other)
            raise SettingError(
                f"{path}: of a training with {was}; ask for the same, or start again "
                "without --resume or in another --out"
            )
