"""Write the shell completions of jepactl from its own parser: `make completions`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import shtab

from jepad.cli.options import ACTIONS, DOMAINS, parser

TARGET = Path(__file__).parent / "completions"
FILES = {"bash": "jepactl.bash", "zsh": "_jepactl"}
#: Streams and units are asked for when Tab is pressed: they are not the same on every machine.
PREAMBLE = {
    "bash": """
_jepactl_streams() {
  compgen -W "$(jepactl streams --names 2>/dev/null)" -- "$1"
}
_jepactl_units() {
  compgen -W "$(jepactl what-if --units 2>/dev/null)" -- "$1"
}
_jepactl_domains() {
  compgen -W "DOMAINS" -- "$1"
}
_jepactl_actions() {
  compgen -W "ACTIONS" -- "$1"
}
""",
    "zsh": """
_jepactl_streams() {
  local -a names
  names=(${(f)"$(jepactl streams --names 2>/dev/null)"})
  _describe stream names
}
_jepactl_units() {
  local -a names
  names=(${(f)"$(jepactl what-if --units 2>/dev/null)"})
  compadd -a names
}
_jepactl_domains() {
  local -a names
  names=(DOMAINS)
  _describe domain names
}
_jepactl_actions() {
  local -a names
  names=(ACTIONS)
  _describe action names
}
""",
}
WORDS = {"DOMAINS": DOMAINS, "ACTIONS": ACTIONS}
WAYS = {
    "action": {"bash": "_jepactl_actions", "zsh": "_jepactl_actions"},
    "unit": {"bash": "_jepactl_units", "zsh": "_jepactl_units"},
    "stream": {"bash": "_jepactl_streams", "zsh": "_jepactl_streams"},
    "domain": {"bash": "_jepactl_domains", "zsh": "_jepactl_domains"},
    "file": shtab.FILE,
    "card": shtab.FILE,
}


def text(shell: str) -> str:
    """The completion script for one shell."""
    out = parser()
    for action in _arguments(out):
        if action.dest in WAYS:
            action.complete = WAYS[action.dest]  # type: ignore[attr-defined]
        action.choices = None
    preamble = dict(PREAMBLE)
    for name, words in WORDS.items():
        preamble = {k: v.replace(name, " ".join(words)) for k, v in preamble.items()}
    return str(shtab.complete(out, shell, preamble=preamble))


def _arguments(out: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The positional arguments of all verbs."""
    for action in out._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _arguments(sub)
        elif not action.option_strings:
            yield action


def main() -> int:
    """Write them all."""
    TARGET.mkdir(exist_ok=True)
    for shell, name in FILES.items():
        (TARGET / name).write_text(text(shell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
