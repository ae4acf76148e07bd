"""Actions on control groups: what may be asked, and how the model is told.

Owns: the record, its validation, the graph's inputs for it, the units of its answer. Numpy alone.
Does not know: how an action is carried out, what it changes (guesses.py), the network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from jepad.errors import NotFound, SettingError
from jepad.heads.guesses import ANOTHER, CPU, FIELDS, KINDS, MEMORY, ROLES, Seen, guesses, place
from jepad.heads.prepare import ACTION, Prepared
from jepad.records import Floats, Floats32

_MOST = 1e4  # units; no guess is wilder
_BYTES = (0.0, 2.0**63)
_LIMITS = {"memory.high": _BYTES, "memory.low": _BYTES, "cpu.weight": (1.0, 10_000.0)}


@dataclass(frozen=True, slots=True)
class Action:
    """What might be done to a group; `value` is bytes or a weight, 0 where the kind needs none."""

    kind: str
    unit: str  # the group as in series names; "" = the host
    value: float = 0.0


def groups(series: Collection[str]) -> list[str]:
    """The groups that series are about."""
    found = (re.fullmatch(rf"cgroup\.(.+)\.({'|'.join(FIELDS)})", name) for name in series)
    return sorted({match[1] for match in found if match})


def check(action: Action, series: Collection[str]) -> None:
    """Refuse what can't be asked of a machine with these series."""
    if action.kind not in KINDS:
        raise SettingError(f"action {action.kind!r} is unknown; one of {', '.join(KINDS)}")
    if not math.isfinite(action.value):
        raise SettingError(f"{action.kind}: the value {action.value} is not a finite number")
    low, high = _LIMITS.get(action.kind, (0.0, 0.0))
    if not low <= action.value <= high:
        wanted = f"from {low:g} to {high:g}" if high else "0: this action takes none"
        raise SettingError(f"{action.kind}: the value must be {wanted}, not {action.value:g}")
    known = groups(series)
    if action.kind == "drop_caches":
        if action.unit:
            raise SettingError(f"drop_caches is the host's, not {action.unit!r}'s: name no unit")
    elif action.unit not in known:
        raise NotFound(f"no series of a group {action.unit!r}; known: {', '.join(known) or 'none'}")


def role(name: str, action: Action) -> str:
    """A series' part in an action, in words."""
    return ROLES[place(name, action.unit).role]


def units(prepared: Prepared, series: Sequence[str]) -> Floats:
    """What 1 is in `effects` and in the graph's `effect`, in each series' own units: [1, C, H].

    The scale of the forecast, but never so little that there are no words for what starts a
    series that stood still.
    """
    least = np.array([place(name, "").least for name in series])
    out: Floats = np.maximum(prepared.scale.astype(np.float64), least[None, :, None])
    return out


def condition(
    prepared: Prepared, series: Sequence[str], values: Floats, action: Action
) -> dict[str, Floats32]:
    """The graph's inputs `action` [1, C, 24] and `effects` [1, C, 4, 6], the latter in `units`.

    values [1, C, T]: what `prepare` was given, counters as rates.
    """
    places = [place(name, action.unit) for name in series]
    dt_s = float(10.0 ** (4 * prepared.feeds["stats"][0, 0, -1]))
    seen = Seen(places, list(series), np.asarray(values[0], np.float64), action.unit)
    guessed = guesses(seen, action.kind, action.value, dt_s) / units(prepared, series)[0, ..., None]
    told = np.zeros((1, len(places), ACTION), np.float32)
    rows = np.arange(len(places))
    told[0, :, KINDS.index(action.kind)] = 1
    told[0, rows, [len(KINDS) + p.role for p in places]] = 1
    told[0, :, 15:19] = _magnitudes(seen, action)
    told[0, :, 19:] = [
        (
            float(seen.swap > 2.0**20),
            {CPU: 1, MEMORY: -1}.get(p.field, 0) if p.role == ANOTHER else 0,
            np.sign(p.use),
            np.sign(p.cache),
            math.log10(dt_s),
        )
        for p in places
    ]
    effects = np.clip(np.nan_to_num(guessed), -_MOST, _MOST)[None]
    return {"action": told, "effects": effects.astype(np.float32)}


def _magnitudes(seen: Seen, action: Action) -> tuple[float, ...]:
    """How strong the action is, how busy its target and the host are."""
    strength, over = 0.0, 0.0
    if action.kind == "cpu.weight":
        strength = math.log(action.value / 100) / 2
    elif action.kind.startswith("memory."):
        ratio = (action.value + 2.0**20) / (seen.memory + 2.0**20)
        strength = float(np.clip(math.log(ratio), -4, 4)) / 2
        over = float(np.mean(action.value < seen.expected))
    cpu = float(np.clip(seen.cpu[2] / seen.capacity, 0, 1))
    return strength, over, cpu, float(np.clip(seen.busy / seen.capacity, 0, 1))
