"""`jepactl watch`: a line each time a prediction is raised or cleared, or the state changes.

Owns: signals to lines. Does not know when a prediction is due.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from typing import Any

from jepad.cli import output
from jepad.cli.bus import NAME, RESOURCE, ROOT, Client, Connection
from jepad.cli.status import MANAGER
from jepad.cli.wire import Message
from jepad.view import span

NEVER = 2**64 - 1
LOOK_S = 60.0  # one wait for a signal; only bounds a system call


def run(options: Namespace) -> int:
    """The verb: until the time is up, or Ctrl-C."""
    client = Client(options.bus)
    connection = client.connection
    _subscribe(connection)
    state = client.properties(ROOT, MANAGER)["State"]
    _tell({"event": "state", "state": state, "bus": client.which}, options.json)
    domains: dict[int, str] = {}  # of the predictions raised while we watched
    end = time.monotonic() + (options.seconds or float("inf"))
    try:
        while (left := end - time.monotonic()) > 0:
            message = connection.signal(min(left, LOOK_S))
            event = _event(message) if message else None
            if event and _wanted(event, options.domain, domains):
                _tell(event, options.json)
    except KeyboardInterrupt:
        pass  # the way to end it
    return 0


def _subscribe(connection: Connection) -> None:
    owner = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0="
    connection.match(f"{owner}'{NAME}'")
    connection.match(f"type='signal',sender='{NAME}',path_namespace='{ROOT}'")


def _event(message: Message) -> dict[str, Any] | None:
    """What a signal says, in our words; None for what is not for us."""
    body = message.body
    if message.member == "NameOwnerChanged":
        return {"event": "started" if body[2] else "stopped"}
    if message.path == RESOURCE and message.member == "PredictionRaised":
        return _raised(*body)
    if message.path == RESOURCE and message.member == "PredictionCleared":
        return {"event": "cleared", "id": _id(body[0])}
    if message.member == "PropertiesChanged" and body[0] == MANAGER and "State" in body[1]:
        return {"event": "state", "state": body[1]["State"]}
    return None


def _raised(
    path: str, domain: str, probability: float, eta_us: int, why: dict[str, Any]
) -> dict[str, Any]:
    event = {"event": "raised", "id": _id(path), "domain": domain, "probability": probability}
    event["eta_s"] = None if eta_us == NEVER else eta_us / 1e6
    if "horizon_usec" in why:
        event["horizon_s"] = why["horizon_usec"] / 1e6
    return event | {key: why[key] for key in ("unit", "cause", "evidence") if key in why}


def _id(path: str) -> int:
    return int(path.rpartition("/")[2])


def _wanted(event: dict[str, Any], domain: str | None, domains: dict[int, str]) -> bool:
    """Whether an event is of the domain asked for; a cleared one is known by its id."""
    if event["event"] == "raised":
        domains[event["id"]] = event["domain"]
    if domain is None or "id" not in event:
        return True
    return domains.get(event["id"]) == domain


def _tell(event: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.say_json({"time": round(time.time(), 3), **event}, lines=True)
    else:
        output.say(f"{time.strftime('%H:%M:%S')}  {output.plain(_words(event))}")
        sys.stdout.flush()


def _words(event: dict[str, Any]) -> str:
    kind = event["event"]
    if kind == "raised":
        eta = f" in {span(event['eta_s'])}" if event["eta_s"] is not None else ""
        unit = f" [{event['unit']}]" if event.get("unit") else ""
        cause = f": {event['cause']}" if event.get("cause") else ""
        what = f"{event['domain']} {event['probability']:.0%}"
        return f"raised {event['id']}  {what}{eta}{unit}{cause}"
    if kind == "cleared":
        return f"cleared {event['id']}"
    if kind == "state":
        on = f" ({event['bus']} bus)" if "bus" in event else ""
        return f"state {event['state']}{on}"
    return f"jepad {kind}"
