"""Windows from cuts: contexts, what came after, and the history before.

Owns: gathering by position, random drawing, augmentation. Does not know: tensors, the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepad.heads.history import AFTER, BEFORE, DAYS, History
from jepad.heads.prepare import CONTEXT, HORIZONS, Prepared, prepare
from jepad.learn.corpus import CHECKPOINTS, Cut
from jepad.records import Floats32

REACH = HORIZONS[-1]
#: How often each kind of source is drawn; what is not named shares `OTHER`.
SHARES = {"smd": 0.38, "asd": 0.13, "jumpstarter2": 0.09, "jumpstarter3": 0.09,
          "host_1hz": 0.07, "host_10hz": 0.05, "vm_memstall": 0.05}  # fmt: skip
SINGLE, OTHER = 0.05, 0.09
ROWS = 512  # channel windows a batch


@dataclass(frozen=True, slots=True)
class Windows:
    """B windows of C channels: 128 before and 64 after `now`, and the history."""

    path: Floats32  # [B, C, CONTEXT + REACH]; NaN = unknown
    dt_s: Floats32  # [B]
    best: Floats32  # [B, C, H]
    history: History


def gather(cuts: Sequence[Cut], at: Sequence[int], channels: Sequence[NDArray[np.intp]]) -> Windows:
    """Window i: `cuts[i]` with its newest known sample at[i], of `channels[i]`."""
    span = np.arange(-CONTEXT + 1, REACH + 1)
    paths, past, days = [], [], []
    for c, t, chosen in zip(cuts, at, channels, strict=True):
        paths.append(_rows(c.values, t + span, chosen))
        known = max(0, t - CONTEXT) * CHECKPOINTS // c.seen
        past.append(c.past[known][:, chosen])
        days.append(_days(c, t, chosen) if c.day else None)
    table = np.stack(past, 1)
    return Windows(
        path=np.stack(paths),
        dt_s=np.asarray([c.dt_s for c in cuts], np.float32),
        best=np.stack([c.best[chosen] for c, chosen in zip(cuts, channels, strict=True)]),
        history=History(table[0], table[1], table[2], _stack_days(days, len(channels[0]))),
    )


def _rows(values: Floats32, at: NDArray[np.intp], chosen: NDArray[np.intp]) -> Floats32:
    """[C, len(at)]; NaN beyond the trace's ends."""
    inside = (at >= 0) & (at < len(values))
    if inside.all() and at.ndim == 1:
        return np.ascontiguousarray(values[at[0] : at[-1] + 1, chosen].T)
    rows = values[np.clip(at, 0, len(values) - 1)][..., chosen]
    rows[~inside] = np.nan
    return np.moveaxis(rows, -1, 0)


def _days(c: Cut, t: int, chosen: NDArray[np.intp]) -> Floats32:
    back = np.arange(1, DAYS + 1)[:, None] * c.day
    at = t + np.arange(-BEFORE + 1, AFTER + 1)[None] - back
    at = np.where(at > t, -1, at)  # a day shorter than the horizon shows no future
    return _rows(c.values, at, chosen)


def _stack_days(days: list[Floats32 | None], channels: int) -> Floats32 | None:
    if all(d is None for d in days):
        return None
    none = np.full((channels, DAYS, BEFORE + AFTER), np.nan, np.float32)
    return np.stack([none if d is None else d for d in days])


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
        """Windows, and the horizon (its index) whose latent is to be learned: hosts at random within a kind of source, then place, channels, accidents."""
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
        at = [int(rng.integers(min(CONTEXT, c.end - 66), c.end - REACH)) for c in cuts]
        channels = [rng.permutation(c.values.shape[1])[:wide] for c in cuts]
        return self._disturb(gather(cuts, at, channels)), int(rng.integers(len(HORIZONS)))

    def _disturb(self, w: Windows) -> Windows:
        """Short contexts, missing samples, days and history; signs and offsets."""
        rng = self._rng
        path, (b, c, _) = w.path, w.path.shape
        short = np.where(rng.random(b) < 0.15, rng.integers(0, CONTEXT - 15, b), 0)
        path[np.broadcast_to((np.arange(path.shape[2]) < short[:, None])[:, None], path.shape)] = (
            np.nan
        )
        for i in np.flatnonzero(rng.random(b) < 0.08):
            lost = rng.random((c, CONTEXT - 1)) < rng.uniform(0.02, 0.4)
            path[i, :, : CONTEXT - 1][lost] = np.nan
        mean, sd, q97 = (np.array(a) for a in (w.history.mean, w.history.sd, w.history.q97))
        days = w.history.days
        unknown = rng.random(b) < 0.3
        mean[unknown] = sd[unknown] = q97[unknown] = np.nan
        if days is not None:
            kept = np.where(rng.random(b) < 0.4, rng.integers(0, DAYS + 1, b), DAYS)
            kept = np.where(rng.random(b) < 0.1, 0, kept)
            days[
                np.broadcast_to((np.arange(DAYS) >= kept[:, None])[:, None, :, None], days.shape)
            ] = np.nan
        sign = np.where(rng.random((b, c)) < 0.08, -1, 1).astype(np.float32)
        offset = np.where(rng.random((b, c)) < 0.15, rng.normal(size=(b, c)) * 4, 0)
        offset = (offset * np.nan_to_num(np.nanstd(path[..., :CONTEXT], axis=2))).astype(np.float32)
        q97 = np.where(sign > 0, q97, np.nan)  # a flipped channel's q97 is not its q03
        move = lambda a: a * sign[..., None] + offset[..., None]  # noqa: E731
        if days is not None:
            days = days * sign[..., None, None] + offset[..., None, None]
        history = History(mean * sign + offset, sd, q97 + offset, days)
        return Windows(move(path), w.dt_s, w.best, history)


def _group(c: Cut) -> str:
    if c.source in SHARES:
        return c.source
    return "single" if c.values.shape[1] == 1 else "other"


def prepare_now(w: Windows) -> Prepared:
    """The model's inputs at `now`."""
    return prepare(w.path[..., :CONTEXT], w.dt_s, w.history)


def futures(w: Windows, prepared: Prepared) -> tuple[Floats32, Floats32, Floats32]:
    """What came: values at the horizons, whether the threshold was passed, whether it is known."""
    after = w.path[..., CONTEXT:]
    actual = np.stack([after[..., h - 1] for h in HORIZONS], -1)
    above = np.stack([np.fmax.reduce(after[..., :h], axis=-1) for h in HORIZONS], -1)
    rises = (above > prepared.q97[..., None]).astype(np.float32)
    known = (
        np.isfinite(above) & (prepared.last <= prepared.q97)[..., None] & prepared.usable[..., None]
    )
    return actual, rises, known.astype(np.float32)
