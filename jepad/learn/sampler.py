"""Which windows train: drawn by kind of source, then host, then pace and place.

Owns: the shares, the draw, its state. Does not know: tensors, the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jepad.heads.prepare import CONTEXT, HORIZONS, SHORTEST
from jepad.learn.augment import disturbed
from jepad.learn.corpus import Cut
from jepad.learn.windows import REACH, Windows, gather

#: How often each kind of source is drawn; what is not named shares `OTHER`.
SHARES = {"smd": 0.28, "asd": 0.10, "jumpstarter2": 0.08, "jumpstarter3": 0.08,
          "host_1hz": 0.09, "host_10hz": 0.08, "vm_memstall": 0.07,
          "gym_native": 0.09, "gym_guest": 0.06, "sbc_bench": 0.05}  # fmt: skip
SINGLE, OTHER = 0.05, 0.09
#: How often each horizon's latent is learned: one step ahead it hardly moves.
LATENT_SHARES = (0.1, 0.2, 0.3, 0.4)
ROWS = 512  # channel windows a batch


class Sampler:
    """Draws training batches; its state is a seed and a count."""

    def __init__(self, cuts: Sequence[Cut], seed: int, rows: int = ROWS) -> None:
        self._rng = np.random.default_rng(seed)
        self._rows = rows
        self._groups: list[dict[str, list[Cut]]] = []
        shares: list[float] = []
        for name in sorted({_group(c) for c in cuts}):
            hosts: dict[str, list[Cut]] = {}
            for c in cuts:
                if _group(c) == name:
                    hosts.setdefault(c.key, []).append(c)
            self._groups.append(hosts)
            shares.append(SHARES.get(name, SINGLE if name == "single" else OTHER))
        self._shares = np.asarray(shares) / sum(shares)

    def state(self) -> dict[str, object]:
        """To go on later with the same draws."""
        return dict(self._rng.bit_generator.state)

    def restore(self, state: dict[str, object]) -> None:
        """Take up `state`."""
        self._rng.bit_generator.state = state

    def draw(self) -> tuple[Windows, int]:
        """Windows, and the horizon (its index) whose latent is to be learned.

        Hosts are drawn at random within a kind of source, then pace, place, channels, accidents.
        """
        rng = self._rng
        hosts = self._groups[rng.choice(len(self._groups), p=self._shares)]
        names = list(hosts)
        most = max(c.values.shape[1] for cuts in hosts.values() for c in cuts)
        wide = min(int(rng.choice([4, 8, 16, 32])), most)
        cuts: list[Cut] = []
        while len(cuts) < self._rows // wide:
            of_host = hosts[names[rng.integers(len(names))]]
            # The first cut is the trace as recorded; the others are slower.
            pick = 0 if rng.random() < 0.6 else int(rng.integers(len(of_host)))
            if of_host[pick].values.shape[1] >= wide:
                cuts.append(of_host[pick])
        at = [int(rng.integers(*_span(c))) for c in cuts]
        channels = [rng.permutation(c.values.shape[1])[:wide] for c in cuts]
        horizon = int(rng.choice(len(HORIZONS), p=LATENT_SHARES))
        if any(c.brief for c in cuts):
            horizon = min(horizon, 1)
        return disturbed(gather(cuts, at, channels), rng), horizon


def _span(c: Cut) -> tuple[int, int]:
    """Where the newest known sample of a window may lie."""
    if c.brief:
        return SHORTEST, c.end - HORIZONS[1]
    return min(CONTEXT, c.end - 66), c.end - REACH


def _group(c: Cut) -> str:
    if c.source in SHARES:
        return c.source
    return "single" if c.values.shape[1] == 1 else "other"
