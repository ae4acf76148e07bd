"""The anomaly of a machine whose series come and go.

Owns: what stays known of those that stay, which channels are named as causes. Does not know:
how a score is made, names, units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from jepad.heads.anomaly import Anomaly
from jepad.heads.forecast import Output
from jepad.heads.history import moved
from jepad.heads.usual import LAGS
from jepad.records import Floats

#: Causes named at most, and the share of what is unusual that makes one.
MOST, SHARE = 3, 0.1
#: The deviation of a channel that nothing is known of: none of its values is far off.
_BOUNDLESS = 1e30


class Unusual:
    """Of C channels."""

    def __init__(self, channels: int) -> None:
        self._anomaly = Anomaly(channels)

    def observe(self, rows: Floats, steps: Sequence[int], said: Output | None) -> float:
        """rows [K, C] came, each so many `steps` after the one before; `said` is the model's word
        as of the last one. The score, 0..20; NaN until enough was seen."""
        for row, apart in zip(rows[:-1], steps[:-1], strict=True):
            self._anomaly.observe(row, steps=apart)
        if said is None:
            return self._anomaly.observe(rows[-1], steps=steps[-1])
        quantiles = np.where(said.usable[0][:, None, None], said.quantiles[0], np.nan)
        latent = np.concatenate([said.z, said.z_hat[0]])
        return self._anomaly.observe(rows[-1], quantiles, latent, steps[-1])

    def causes(self) -> list[int]:
        """The channels that make it so, most first."""
        shares = self._anomaly.contributions()
        return [int(c) for c in np.argsort(-shares, kind="stable")[:MOST] if shares[c] >= SHARE]

    def move(self, places: NDArray[np.intp]) -> None:
        """Other channels from now on: channel i was places[i], or is new where that is -1.

        Of a new one nothing is unusual until it was seen for long enough."""
        state, self._anomaly = self._anomaly.state(), Anomaly(len(places))
        if state:
            self._anomaly.restore(_rearranged(state, places))

    def told(self) -> dict[str, object]:
        """Plain lists, to persist; {} while too little was seen."""
        return self._anomaly.state()

    def restore(self, told: Mapping[str, object]) -> None:
        """Take what `told` said of as many channels; ValueError if it can't have."""
        try:
            self._anomaly.restore(told)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"not what is usual: {error!r}") from error


def _rearranged(state: Mapping[str, object], places: NDArray[np.intp]) -> dict[str, object]:
    tables = {key: np.asarray(state[key], np.float64) for key in ("mean", "centres", "basis")}
    wide = {key: np.asarray(state[key], np.float64) for key in ("sd", "spread")}
    count = len(tables["mean"])
    # From each of LAGS rows of channels, and a constant, to a row of channels.
    step = np.asarray(state["step"], np.float64)
    before = moved(step[:-1].reshape(LAGS, count, count).swapaxes(0, 1), places).swapaxes(0, 1)
    tables["step"] = np.concatenate([before.reshape(LAGS * len(places), count), step[-1:]])
    out = {key: moved(table.T, places).T for key, table in tables.items()}
    out |= {key: moved(table.T, places, _BOUNDLESS).T for key, table in wide.items()}
    # It counts half: so few rows as were seen since soon say more.
    return {**state, **out, "fitted": int(str(state["fitted"])) // 2}
