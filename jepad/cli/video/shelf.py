"""Which libraries of video models a command reads and writes.

Owns: the choice between the system's and the user's. Does not know: what is in one.
"""

from __future__ import annotations

import os

from jepad import paths
from jepad.errors import NotFound
from jepad.models import library


def roots(bus: str) -> list[str]:
    """Libraries to read, the first one wins: of `--system`, `--session`, or else both."""
    states = {"system": [paths.SYSTEM.state], "session": [paths.session().state]}
    both = [paths.session().state, paths.SYSTEM.state]
    return [library.library(state) for state in states.get(bus, both)]


def target(bus: str) -> str:
    """The library to write: the system's for root, unless a flag says otherwise."""
    if bus == "auto":
        bus = "system" if os.geteuid() == 0 else "session"
    return roots(bus)[0]


def find(bus: str, name: str) -> library.Installed:
    """A model by name in any library, or the shipped one. NotFound, ModelError as library.find."""
    candidates = roots(bus)
    for root in candidates[:-1]:
        if os.path.isdir(os.path.join(root, library.checked_name(name))):
            return library.find(root, name)
    return library.find(candidates[-1], name)


def everything(bus: str) -> tuple[list[library.Installed], dict[str, str]]:
    """All models by name, each once; and name to what is wrong with those that can't be read."""
    found: dict[str, library.Installed] = {}
    broken: dict[str, str] = {}
    for root in reversed(roots(bus)):
        found |= {model.manifest.name: model for model in library.installed(root)}
        broken |= library.broken(root)
    return [found[name] for name in sorted(found)], broken


def known(bus: str, name: str) -> library.Installed | None:
    """As `find`, None where there is none."""
    try:
        return find(bus, name)
    except NotFound:
        return None
