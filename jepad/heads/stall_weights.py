"""How much each sign of a memory stall weighs: additive log-odds, never below zero.

Owns: models/data/stall.json and the sum. A weight can't be negative: more of a bad sign never
lowers the risk, and each sign's share of it can be said. Does not know: how signs are read, or
how the weights were fitted (learn/stall.py).
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from jepad.errors import SettingError

FILE = "stall.json"


@dataclass(frozen=True, slots=True)
class Weights:
    """Log-odds = bias + sum of weight times sign."""

    bias: float
    of: Mapping[str, float]

    def contributions(self, values: Mapping[str, float]) -> dict[str, float]:
        """What each sign adds to the log-odds, greatest first; zeros are left out."""
        added = {name: w * values.get(name, 0.0) for name, w in self.of.items()}
        kept = {name: value for name, value in added.items() if value > 0}
        return dict(sorted(kept.items(), key=lambda pair: -pair[1]))

    def probability(self, values: Mapping[str, float]) -> float:
        """Of a stall within the horizon it was fitted for."""
        odds = self.bias + math.fsum(self.contributions(values).values())
        return 1.0 / (1.0 + math.exp(-min(max(odds, -50.0), 50.0)))


def parse(text: str) -> Weights:
    """Weights of a JSON text; SettingError says what is wrong with it."""
    try:
        table = json.loads(text)
        bias = float(table["bias"])
        of = {str(name): float(weight) for name, weight in table["weights"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingError(f"{FILE}: not a table of weights: {error}") from error
    if not math.isfinite(bias) or not all(0 <= w < math.inf for w in of.values()):
        raise SettingError(f"{FILE}: a weight is negative or not finite")
    return Weights(bias, of)


@functools.cache
def shipped() -> Weights:
    """Those of this package."""
    return parse(resources.files("jepad.models").joinpath("data", FILE).read_text())
