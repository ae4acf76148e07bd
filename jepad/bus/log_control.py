"""org.freedesktop.LogControl1: `systemctl service-log-level jepad.service debug`.

Owns: the names of levels and targets. Does not know: where records go.
"""

from __future__ import annotations

import logging

from jepad.bus import schema
from jepad.bus.dispatch import Adapter, Call, Rejection
from jepad.bus.manager import privileged
from jepad.journal import Journal

PATH = "/org/freedesktop/LogControl1"
LEVELS = {
    "emerg": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "crit": logging.CRITICAL,
    "err": logging.ERROR,
    "warning": logging.WARNING,
    "notice": logging.INFO,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
NAMES = {
    number: name for name, number in LEVELS.items() if name not in ("emerg", "alert", "notice")
}
TARGETS = ("journal", "console")


def adapter() -> Adapter:
    """The interface over our loggers."""
    return Adapter(
        schema.load("org.freedesktop.LogControl1"),
        methods={},
        getters={
            "LogLevel": lambda: NAMES.get(_root().getEffectiveLevel(), "info"),
            "LogTarget": lambda: next((h.target for h in _journals()), "console"),
            "SyslogIdentifier": lambda: next((h.identifier for h in _journals()), "jepad"),
        },
        setters={"LogLevel": _set_level, "LogTarget": _set_target},
    )


def _set_level(call: Call, value: object) -> None:
    privileged(call)
    if value not in LEVELS:
        raise Rejection("InvalidArgs", f"no log level {value!r:.40}: use {', '.join(LEVELS)}")
    _root().setLevel(LEVELS[str(value)])


def _set_target(call: Call, value: object) -> None:
    privileged(call)
    if value not in TARGETS:
        raise Rejection("InvalidArgs", f"no log target {value!r:.40}: use {', '.join(TARGETS)}")
    for handler in _journals():
        handler.target = str(value)


def _root() -> logging.Logger:
    return logging.getLogger("jepad")


def _journals() -> list[Journal]:
    return [h for h in _root().handlers if isinstance(h, Journal)]
