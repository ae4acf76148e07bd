"""What a plan may do, as data: axes of an action with their limits, and how they move a state.

Owns: names, limits, their JSON, those of two bodies. Does not know: models, energies, how a plan
is searched for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import hypot, isfinite
from typing import Any, Literal

import msgspec

from jepad.errors import NotFound, SettingError


@dataclass(frozen=True, slots=True)
class Axis:
    """One number of an action. SettingError: limits that leave nothing to choose."""

    name: str
    low: float = 0.0  # of every sample; a `fixed` value may lie outside
    high: float = 0.0
    spread: float | None = None  # deviation to begin with; default half of high - low, 0 if fixed
    #: Mean to begin with; default `fixed` where it holds, else what is nearest to 0.
    start: float | None = None
    fixed: float | None = None  # not searched for: this value
    fixed_from: int = 0  # the first step that it is fixed at
    dead_zone: float = 0.0  # what is done is zero if it is nearer to zero than this
    momentum: tuple[float, float] | None = None  # of mean and spread; default the search's

    def __post_init__(self) -> None:
        numbers = (self.low, self.high, self.spread, self.start, self.fixed, self.dead_zone)
        if not all(isfinite(x) for x in numbers if x is not None):
            raise SettingError(f"axis {self.name}: every number must be finite")
        if self.low > self.high or (self.low == self.high and self.free):
            raise SettingError(f"axis {self.name}: give low < high, or a fixed value")
        if min(self.spread or 0.0, self.dead_zone, self.fixed_from) < 0:
            raise SettingError(f"axis {self.name}: spread, dead_zone and fixed_from can't be < 0")
        if self.momentum is not None and not all(0 <= share < 1 for share in self.momentum):
            raise SettingError(f"axis {self.name}: a momentum is at least 0 and less than 1")
        if self.free:
            self._check_zero_and_start()

    def _check_zero_and_start(self) -> None:
        if self.start is not None and not self.low <= self.start <= self.high:
            raise SettingError(f"axis {self.name}: it starts outside of low to high")
        if self.dead_zone and not self.low <= 0 <= self.high:
            raise SettingError(f"axis {self.name}: a dead zone does nothing, and 0 isn't allowed")

    @property
    def free(self) -> bool:
        """Whether any value but one can come out of the search."""
        return self.fixed is None or self.fixed_from > 0

    @property
    def deviation(self) -> float:
        """To begin with."""
        if self.spread is not None:
            return self.spread
        return (self.high - self.low) / 2 if self.free else 0.0

    def held(self, step: int) -> float | None:
        """The value that it is fixed at in a step of the plan, if it is."""
        return self.fixed if step >= self.fixed_from else None

    def mean(self, step: int) -> float:
        """To begin with, in a step of the plan."""
        return self.least(step) if self.start is None else self.start

    def least(self, step: int) -> float:
        """What is nearest to zero of all that it may be in a step of the plan."""
        held = self.held(step)
        return min(max(0.0, self.low), self.high) if held is None else held

    def reach(self, step: int) -> float:
        """How near to zero a plan can be sure to keep it; where it is fixed, on the way from
        `start` too."""
        begun = 0.0 if self.start is None or self.held(step) is None else abs(self.start)
        return max(abs(self.least(step)), begun)


@dataclass(frozen=True, slots=True)
class Norm:
    """Some axes together, fixed ones too: the length of that vector is at most this in any step."""

    axes: tuple[str, ...]
    most: float


@dataclass(frozen=True, slots=True)
class States:
    """How an action moves the state that the model is told."""

    #: "pose": x, y, z, three angles, gripper (`jepad.planning.pose`). "shift": it is added.
    motion: Literal["pose", "shift"] = "pose"
    low: tuple[float, ...] | None = None  # one an entry of the state
    high: tuple[float, ...] | None = None
    #: True: the world stops a state at low and high. False: a plan must not leave them.
    walls: bool = False

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise SettingError("states have both low and high, or neither")
        if self.low is None or self.high is None:
            if self.walls:
                raise SettingError("walls are at low and high: give both")
        elif len(self.low) != len(self.high):
            raise SettingError("low and high of the states have one number an entry each")
        elif not all(low <= high for low, high in zip(self.low, self.high, strict=True)):
            raise SettingError("low of a state lies above its high")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of the actions of one body. SettingError: names twice, a norm of axes that aren't there, or
    one that what is fixed, or can't be zero, exceeds already."""

    name: str
    axes: tuple[Axis, ...]
    norms: tuple[Norm, ...] = ()
    states: States = States()

    def __post_init__(self) -> None:
        names = self.names
        if not names or len(set(names)) < len(names):
            raise SettingError(f"bounds {self.name}: axes must have different names")
        if not any(axis.free for axis in self.axes):
            raise SettingError(f"bounds {self.name}: every axis is fixed; nothing is left to plan")
        for norm in self.norms:
            if unknown := sorted(set(norm.axes) - set(names)):
                raise SettingError(f"bounds {self.name}: a norm of {', '.join(unknown)}")
            if not (isfinite(norm.most) and norm.most > 0 and norm.axes):
                raise SettingError(f"bounds {self.name}: a norm is over axes and above zero")
            self._check_norm(norm)

    def _check_norm(self, norm: Norm) -> None:
        axes = [axis for axis in self.axes if axis.name in norm.axes]
        for step in sorted({0, *(axis.fixed_from for axis in axes)}):
            length = hypot(*(axis.reach(step) for axis in axes))
            if length > norm.most * (1 + 1e-6):
                raise SettingError(
                    f"bounds {self.name}: the norm of {', '.join(norm.axes)} is at most "
                    f"{norm.most:g}, and what is fixed or can't be 0 makes it {length:g}"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the axes, in the order of an action."""
        return tuple(axis.name for axis in self.axes)

    def index(self, name: str) -> int:
        """Of an axis. SettingError: none of that name."""
        if name not in self.names:
            raise SettingError(f"no axis {name}; there are {', '.join(self.names)}")
        return self.names.index(name)

    def to_json(self) -> str:
        """For a manifest, the bus, a file; `read` takes it back."""
        return msgspec.json.encode(self).decode()


def droid(reach: float = 0.05) -> Bounds:
    """V-JEPA 2-AC's robot arm: metres and radians a step, at most `reach` along each axis."""
    moves = tuple(Axis(name, -reach, reach, spread=reach) for name in "xyz")
    turns = tuple(Axis(name, fixed=0.0) for name in ("roll", "pitch", "yaw"))
    gripper = Axis("gripper", -0.75, 0.75, spread=1.0, dead_zone=0.25, momentum=(0.15, 0.15))
    return Bounds("droid", (*moves, *turns, gripper))


DROID = droid()
#: The shipped world: a disc moves by so much a step between the walls of a square.
TOY = Bounds(
    "toy",
    (Axis("dx", -0.25, 0.25), Axis("dy", -0.25, 0.25)),
    states=States("shift", low=(-1.0, -1.0), high=(1.0, 1.0), walls=True),
)
KNOWN = {bounds.name: bounds for bounds in (DROID, TOY)}


def read(text: str) -> Bounds:
    """Bounds by name, or from what `to_json` wrote.

    NotFound: no such name. SettingError: JSON that is no bounds; the message says where.
    """
    if not text.lstrip().startswith("{"):
        if text not in KNOWN:
            raise NotFound(f"no bounds {text!r}; there are {', '.join(KNOWN)}, or give JSON")
        return KNOWN[text]
    try:
        plain = msgspec.json.decode(text)
        for record, value in _parts(plain):
            _known(record, value)
        return msgspec.convert(plain, Bounds)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeEncodeError) as error:
        raise SettingError(f"bounds: {error}") from error


def _parts(plain: dict[str, Any]) -> Iterator[tuple[type, object]]:
    """Every object of the JSON, with the record that it becomes."""
    yield Bounds, plain
    yield States, plain.get("states")
    for name, record in (("axes", Axis), ("norms", Norm)):
        items = plain.get(name)
        for item in items if isinstance(items, list) else []:
            yield record, item


def _known(record: type, value: object) -> None:
    """SettingError: a field that the record hasn't; a limit that is misspelt must not vanish."""
    known = [field.name for field in fields(record)]
    if isinstance(value, dict) and (strange := sorted(set(value) - set(known))):
        raise SettingError(
            f"bounds: {record.__name__.lower()} {value.get('name', '')} has no "
            f"{', '.join(strange)}; there are {', '.join(known)}".replace("  ", " ")
        )
