"""A question about actions, or a goal, as it comes over the bus: what may be passed and means what.

Owns: types and bounds of its arguments. Does not know: units, actions or series of any machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from jepad.errors import SettingError
from jepad.guard import validation
from jepad.policy.goal import EXAMPLE, Wish
from jepad.policy.question import Question, Step

PARAMETERS, OPTIONS = {"unit", "value"}, {"then", "steps"}
GOAL, PLAN_OPTIONS = {"want", "horizon_usec"}, {"actions", "units"}
MAX_THEN = 3
MAX_NAMED = 16
GOAL_HORIZON_US = 64_000_000
THEN = "then: use an array of (action, unit, value, after_usec): a(ssdt)"

Given = Mapping[str, object]


def question(
    domain: str, action: str, parameters: Given, horizon_usec: int, options: Given
) -> Question:
    """SettingError for whatever does not fit."""
    given, wished = validation.options(parameters), validation.options(options)
    _only(given, PARAMETERS, "parameter")
    _only(wished, OPTIONS, "option")
    value = None if "value" not in given else _number(given["value"])
    first = Step(validation.name(action, "action"), _unit(given.get("unit", "")), value)
    every = wished.get("steps", False)
    if not isinstance(every, bool):
        raise SettingError("steps: use a boolean")
    return Question(
        validation.name(domain, "domain"),
        (first, *_then(wished.get("then", []))),
        validation.horizon_us(horizon_usec),
        every,
    )


def wish(domain: str, goal: Given, options: Given) -> Wish:
    """What a machine should become; SettingError for whatever does not fit."""
    given, wished = validation.options(goal), validation.options(options)
    _only(given, GOAL, "part of a goal")
    _only(wished, PLAN_OPTIONS, "option")
    horizon_us = given.get("horizon_usec", GOAL_HORIZON_US)
    if not isinstance(horizon_us, int) or isinstance(horizon_us, bool):
        raise SettingError("horizon_usec: use a number of microseconds")
    return Wish(
        validation.name(domain, "domain"),
        _texts(given.get("want"), "want", EXAMPLE),
        validation.horizon_us(horizon_us),
        tuple(validation.names(wished.get("actions", []), "actions")[:MAX_NAMED]),
        tuple(_unit(unit) for unit in _texts(wished.get("units", []), "units", "paths of groups")),
    )


def _texts(value: object, what: str, hint: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SettingError(f"{what}: use a list of texts; {hint}")
    if len(value) > MAX_NAMED:
        raise SettingError(f"{what}: {len(value)} are too many, at most {MAX_NAMED}")
    return tuple(value)


def _only(given: Given, known: set[str], what: str) -> None:
    if unknown := given.keys() - known:
        raise SettingError(f"unknown {what} {min(unknown)!r}: use {' or '.join(sorted(known))}")


def _then(value: object) -> list[Step]:
    if not isinstance(value, list):
        raise SettingError(THEN)
    if len(value) > MAX_THEN:
        raise SettingError(f"then: {len(value)} more actions are too many, at most {MAX_THEN}")
    return [_step(item) for item in value]


def _step(item: object) -> Step:
    if not isinstance(item, list | tuple) or len(item) != 4:
        raise SettingError(THEN)
    action, unit, value, after = item
    if not isinstance(action, str) or not isinstance(after, int) or isinstance(after, bool):
        raise SettingError(THEN)
    if after < 1:
        raise SettingError("then: after_usec is the time since the action before, from 1")
    after_us = validation.horizon_us(after)
    return Step(validation.name(action, "action"), _unit(unit), _number(value), after_us)


def _unit(value: object) -> str:
    if not isinstance(value, str) or len(value) > validation.MAX_NAME:
        raise SettingError(f"unit: use the path of a group, at most {validation.MAX_NAME} long")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise SettingError("value: use a number")
    if not math.isfinite(value):
        raise SettingError("value: use a finite number")
    return float(value)
