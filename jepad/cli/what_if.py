"""`jepactl what-if`: what an action would change, as a table or JSON. It does nothing.

Owns: the words for actions and their differences. Does not know how they are foreseen.
"""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from typing import Any

from jepad.cli import output
from jepad.cli.bus import Client
from jepad.cli.options import ACTIONS, amount, duration
from jepad.cli.predict import WORLD_MODEL
from jepad.errors import SettingError
from jepad.view import quantity, span

P10, P50, P90 = range(3)
Rows = list[tuple[str, ...]]


def run(options: Namespace) -> int:
    """The verb."""
    client = Client(options.bus)
    if options.units:
        return _units(client, options.json)
    if options.action is None:
        known = ", ".join(ACTIONS)
        raise SettingError(f"name an ACTION: {known}. UNITs: jepactl what-if --units")
    asked: dict[str, tuple[str, Any]] = {"steps": ("b", True)} if options.steps else {}
    if options.then:
        asked["then"] = ("a(ssdt)", [_later(step, options.unit) for step in options.then])
    parameters = {"unit": ("s", options.unit)} if options.unit else {}
    if options.value is not None:
        parameters["value"] = ("d", options.value)
    domain = options.series or "all"
    wanted = (domain, options.action, parameters, round(options.horizon * 1e6), asked)
    (found,) = client.call(WORLD_MODEL, "PredictAction", "ssa{sv}ta{sv}", *wanted)
    if options.json:
        output.say_json({"bus": client.which, "action": options.action, "domain": domain, **found})
        return 0
    _show(found, options, everything=bool(options.series))
    return 0


def _units(client: Client, as_json: bool) -> int:
    import json

    (text,) = client.call("org.jepad1.Manager", "Describe")
    units = json.loads(text).get("units", [])
    if as_json:
        output.say_json({"bus": client.which, "units": units, "actions": ACTIONS})
        return 0
    for unit in units:
        output.say(output.plain(unit))
    return 0


def _later(step: str, unit: str | None) -> tuple[str, str, float, int]:
    """`30s:thaw`, `1m:memory.high=1G@other.slice`; else the unit is the first action's."""
    time, _, done = step.partition(":")
    action, _, other = done.partition("@")
    kind, _, value = action.partition("=")
    if not kind:
        raise SettingError(f"--then {step}: write TIME:ACTION, as in 30s:thaw")
    try:
        after_us = round(duration(time) * 1e6)
        return kind, other or unit or "", amount(value) if value else 0.0, after_us
    except ArgumentTypeError as error:
        raise SettingError(f"--then {step}: {error}") from error


def _show(found: dict[str, Any], options: Namespace, everything: bool) -> None:
    steps = found.get("steps") or [found]
    own = f"cgroup.{found['unit']}."
    shown = [
        i
        for i, name in enumerate(found["series"])
        if everything or name.startswith(own) or any(_clear(s["difference"][i]) for s in steps)
    ]
    head = ("SERIES", *(("IN",) if options.steps else ()))
    rows: Rows = [(*head, "WITHOUT", "WITH", "DIFFERENCE", "P10", "P90")]
    for i in shown:
        for step in steps:
            when = (span(step["horizon_usec"] / 1e6),) if options.steps else ()
            rows.append((found["series"][i], *when, *_row(step, i, found["units"][i])))
    for i, line in enumerate(output.table(rows)):
        output.say(output.paint(line, output.BOLD, on=i == 0 and output.colourful(sys.stdout)))
    quiet = len(found["series"]) - len(shown)
    if quiet:
        output.say(f"{quiet} other series: no clear difference")
    output.say(_foot(found, options))


def _clear(difference: tuple[float, float, float]) -> bool:
    """Nine times of ten it is to that side."""
    return difference[P10] > 0 or difference[P90] < 0


def _row(step: dict[str, Any], i: int, unit: str) -> tuple[str, ...]:
    medians = (quantity(step[key][i][P50], unit) for key in ("without", "with"))
    changes = (step["difference"][i][q] for q in (P50, P10, P90))
    return (*medians, *(_signed(value, unit) for value in changes))


def _signed(value: float, unit: str) -> str:
    text = quantity(value, unit)
    return f"+{text}" if value > 0 and text[0] != "0" else text


def _foot(found: dict[str, Any], options: Namespace) -> str:
    """What was supposed, when it is judged, by whom: and that nothing happened."""
    value = "" if options.value is None else f" {_value(options.action, options.value)}"
    whom = f" {output.plain(found['unit'])}" if found["unit"] else ""
    more = "".join(f", then {output.plain(step)}" for step in options.then or ())
    when = span(found["horizon_usec"] / 1e6)
    model, age = output.plain(found["model"])[:12], span(found["age_usec"] / 1e6)
    return (
        f"in {when}, if now: {options.action}{whom}{value}{more}; from the model {model},"
        f" {age} old. Nothing was done."
    )


def _value(action: str, value: float) -> str:
    return quantity(value, "B" if action.startswith("memory.") else "")
