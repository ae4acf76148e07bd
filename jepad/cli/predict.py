"""`jepactl predict`: one forecast, as a table or JSON.

Owns: the look of a forecast. Does not know how it is made.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from jepad.cli import output
from jepad.cli.bus import Client
from jepad.cli.options import DOMAINS
from jepad.cli.suggest import did_you_mean
from jepad.errors import JepadError, NotFound, NotReady
from jepad.view import quantity, span

WORLD_MODEL = "org.jepad1.WorldModel"
WHO = {"model": "the model", "baseline": "the baseline", "blend": "model and baseline"}


def run(options: Namespace) -> int:
    """The verb: one domain, or all that there are here."""
    client = Client(options.bus)
    forecasts = _ask(client, options.domain, round(options.horizon * 1e6))
    if options.json:
        shapes = [{"domain": name, **forecast} for name, forecast in forecasts.items()]
        output.say_json({"bus": client.which, "forecasts": shapes})
        return 0
    rows: list[tuple[str, ...]] = [("SERIES", "P10", "P50", "P90", "PART")]
    for forecast in forecasts.values():
        rows += _rows(forecast)
    for i, line in enumerate(output.table(rows)):
        output.say(output.paint(line, output.BOLD, on=i == 0 and output.colourful(sys.stdout)))
    output.say(_foot(list(forecasts.values())))
    return 0


def _ask(client: Client, domain: str | None, horizon_us: int) -> dict[str, dict[str, Any]]:
    """Forecasts by domain; without a domain, those that are absent here are left out, and of those
    that have none yet it is said why."""
    out: dict[str, dict[str, Any]] = {}
    mute = []
    for name in [domain] if domain else DOMAINS:
        try:
            (out[name],) = client.call(WORLD_MODEL, "Predict", "sta{sv}", name, horizon_us, {})
        except NotFound as error:
            if domain:
                near = did_you_mean(domain, [*DOMAINS, *_series(client.which)])
                raise NotFound(f"{str(error).rstrip('.')}{near or '.'}") from error
        except NotReady as error:
            if domain:
                raise
            mute.append(str(error))
    if not out:
        raise NotReady(mute[0] if mute else "nothing is forecast on this machine")
    for reason in mute:
        output.note(reason)
    return out


def _series(bus: str) -> list[str]:
    """Names of telemetry series, for a suggestion; none where the stream can't be read."""
    from jepad.cli.rings import names  # slow to import, and only needed for a mistyped name

    try:
        return names(bus)
    except JepadError:
        return []


def _rows(forecast: dict[str, Any]) -> list[tuple[str, ...]]:
    p10, p50, p90 = (
        [quantity(v, unit) for v, unit in zip(forecast[key], forecast["units"], strict=True)]
        for key in ("p10", "p50", "p90")
    )
    parts = [
        f"{part} {weight:.0%}" if part == "blend" else part
        for part, weight in zip(forecast["parts"], forecast["weights"], strict=True)
    ]
    return list(zip(forecast["series"], p10, p50, p90, parts, strict=True))


def _foot(forecasts: list[dict[str, Any]]) -> str:
    """Who is missing; when, by whom, how sure: without this the figures can't be judged."""
    silent = ", ".join(dict.fromkeys(name for one in forecasts for name in one["silent"]))
    lack = f"no forecast: {output.plain(silent)} has no samples, or too few\n" if silent else ""
    forecast = forecasts[0]
    horizon = span(forecast["horizon_usec"] / 1e6)
    age = span(forecast["age_usec"] / 1e6)
    who = WHO.get(forecast["part"], output.plain(forecast["part"]))
    model = "" if forecast["part"] == "baseline" else f" {output.plain(forecast['model'])[:12]}"
    held = forecast["confidence"]
    sure = f"confidence {held:.2f}" if held == held else "confidence not known yet"  # noqa: PLR0124
    return f"{lack}in {horizon}, from {who}{model}; {sure}; {age} old"
